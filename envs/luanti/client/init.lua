-- Client mod: one line for each rendered frame, written before that frame is drawn.
-- The look that the client gives here is the one of the frame before; the environment knows.
local function flag(value)
	return value and "1" or "0"
end

local function name_at(x, y, z)
	local node = minetest.get_node_or_nil({x = x, y = y, z = z})
	return node and node.name or "-"
end

minetest.register_globalstep(function()
	local player = minetest.localplayer
	if not player then
		return
	end
	local p, v, c = player:get_pos(), player:get_velocity(), player:get_control()
	local feet = {x = p.x, y = p.y + 0.2, z = p.z}
	minetest.log("action", string.format("WSF %d %.4f %.4f %.4f %.4f %.4f %.4f %.6f %.6f %s %d %s %s %s %d",
		minetest.get_us_time(), p.x, p.y, p.z, v.x, v.y, v.z,
		player:get_last_look_horizontal(), player:get_last_look_vertical(),
		flag(c.up) .. flag(c.down) .. flag(c.left) .. flag(c.right) .. flag(c.jump) .. flag(c.sneak) ..
			flag(c.aux1) .. flag(c.dig or c.LMB) .. flag(c.place or c.RMB),
		player:get_wield_index() or 0,
		name_at(p.x, p.y + 0.2, p.z), name_at(p.x, p.y + 1.5, p.z),
		flag(player:is_touching_ground()), minetest.get_node_light(feet, nil) or -1))
end)

local function event(kind, node, p)
	minetest.log("action", string.format("WSE %s %s %d %d %d", kind, node, p.x, p.y, p.z))
end

minetest.register_on_dignode(function(pos, node)
	event("dig", node.name, pos)
end)

minetest.register_on_placenode(function(pointed, node)
	event("place", node.name, pointed.above)
end)
