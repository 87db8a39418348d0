-- Server mod: starts an episode where and as the environment asks, and reports what only the server knows.
-- Requests come as JSON in the world folder; answers go to the log.
local path = minetest.get_worldpath() .. "/request.json"
local SPRINT = 1.3
local TOOLS = {"default:pick_diamond", "default:axe_diamond", "default:shovel_diamond", "default:dirt 99",
	"default:cobble 99", "default:wood 99", "default:torch 99", "default:glass 99", "default:sword_diamond"}
local REACH = tonumber(minetest.settings:get("worldsim_reach")) or 48
local TRIES = 60
-- Trunks that are told with whether they can be seen: so many at most, within so many metres of the eye.
local SIGHT, MOST_TRUNKS = 10, 16
local last_id, job, sprinting, last_items, steps = 0, nil, nil, nil, 0

local function say(kind, value)
	minetest.log("action", "WS" .. kind .. " " .. minetest.write_json(value))
end

local function is_ground(name)
	local def = minetest.registered_nodes[name]
	return def and def.walkable and def.liquidtype == "none" and minetest.get_item_group(name, "leaves") == 0
		and minetest.get_item_group(name, "tree") == 0
end

local function is_free(name)
	local def = minetest.registered_nodes[name]
	return def and not def.walkable and def.liquidtype == "none" and (def.damage_per_second or 0) == 0
end

-- Height to stand at in the column under the open sky, with `shade` also under leaves; nil in water, trees or the dark.
local function surface(x, z, top, bottom, shade)
	for y = top, bottom, -1 do
		local name = minetest.get_node({x = x, y = y, z = z}).name
		local leaf = shade and minetest.get_item_group(name, "leaves") > 0
		if name ~= "air" and not is_free(name) and not leaf then
			local above = {x = x, y = y + 1, z = z}
			if is_ground(name) and is_free(minetest.get_node(above).name)
					and is_free(minetest.get_node({x = x, y = y + 2, z = z}).name)
					and (minetest.get_node_light(above, 0.5) or 0) >= (shade and 4 or 13) then
				return y + 0.5
			end
			return nil
		end
	end
end

local function emerge(low, high, done)
	minetest.emerge_area(low, high, function(_, _, remaining)
		if remaining == 0 then
			done()
		end
	end)
end

local function equip(player)
	local inventory = player:get_inventory()
	inventory:set_list("main", {})
	inventory:set_list("craft", {})
	for _, item in ipairs(TOOLS) do
		inventory:add_item("main", item)
	end
	player:set_physics_override({speed = 1, jump = 1, gravity = 1, sneak = true})
	sprinting = false
end

local function arrive(player, request, x, y, z)
	minetest.close_formspec(player:get_player_name(), "")
	for _, object in pairs(minetest.luaentities) do
		object.object:remove()
	end
	minetest.set_timeofday(request.time)
	equip(player)
	player:set_velocity(vector.multiply(player:get_velocity(), -1))
	player:set_pos({x = x, y = y, z = z})
	player:set_look_horizontal(math.rad(-request.yaw))
	player:set_look_vertical(math.rad(request.pitch))
	local id = request.id
	emerge({x = x - REACH, y = y - 32, z = z - REACH}, {x = x + REACH, y = y + 40, z = z + REACH}, function()
		local biome = minetest.get_biome_data({x = x, y = y, z = z})
		say("S", {id = id, x = x, y = y, z = z, biome = biome and minetest.get_biome_name(biome.biome) or ""})
	end)
end

local function try_next(player, request, random, try)
	if request.id ~= last_id then
		return
	end
	if try > TRIES then
		say("S", {id = request.id, failed = true})
		return
	end
	if request.y then
		arrive(player, request, request.x, request.y, request.z)
		return
	end
	local x, z, y
	local below, above = 16, 32
	if request.x then -- a tree or a pond there: ever further around it
		local around = math.min(math.floor((try - 1) / 3), 12)
		x = math.floor(request.x + 0.5) + random:next(-around, around)
		z = math.floor(request.z + 0.5) + random:next(-around, around)
		y = minetest.get_spawn_level(x, z) or (8 + ({[0] = 80, 0, -80})[try % 3])
		below, above = 48, 64
	else
		local span = request.spread
		for _ = 1, 200 do
			x, z = random:next(-span, span), random:next(-span, span)
			y = minetest.get_spawn_level(x, z)
			if y then
				break
			end
		end
		y = y or 8
	end
	emerge({x = x, y = y - below, z = z}, {x = x, y = y + above, z = z}, function()
		local ground = surface(x, z, y + above, y - below, request.x or try > 10)
		if ground then
			arrive(player, request, x, ground, z)
		else
			try_next(player, request, random, try + 1)
		end
	end)
end

local function poll(player)
	local file = io.open(path)
	if not file then
		return
	end
	local request = minetest.parse_json(file:read("*a"))
	file:close()
	os.remove(path)
	if request then
		last_id = request.id
		try_next(player, request, PcgRandom(request.seed), 1)
	end
end

-- Whether nothing that one cannot walk through stands between the eye and the middle of a node.
local function visible(eye, at)
	for pointed in minetest.raycast(eye, at, false, false) do
		if vector.equals(pointed.under, at) then
			return true
		end
		local def = minetest.registered_nodes[minetest.get_node(pointed.under).name]
		if not def or def.walkable then
			return false
		end
	end
	return true
end

local function nearby(player)
	local p = vector.round(player:get_pos())
	local eye = vector.offset(player:get_pos(), 0, player:get_properties().eye_height, 0)
	local found, best, closest, near = minetest.find_nodes_in_area(vector.offset(p, -12, -2, -12),
		vector.offset(p, 12, 5, 12), {"group:tree"}), nil, 1e9, {}
	for _, at in ipairs(found) do
		local distance = vector.distance(at, p)
		if distance < closest then
			best, closest = at, distance
		end
		distance = vector.distance(at, eye)
		if distance < SIGHT then
			near[#near + 1] = {distance, at}
		end
	end
	table.sort(near, function(a, b) return a[1] < b[1] end)
	local trunks = {}
	for i = 1, math.min(#near, MOST_TRUNKS) do
		local at = near[i][2]
		if visible(eye, at) then
			trunks[#trunks + 1] = {at.x, at.y, at.z}
		end
	end
	if best then
		say("N", {tree = {{best.x, best.y, best.z}}, trunks = #trunks > 0 and trunks or nil})
	else
		say("N", {none = true})
	end
end

local function report_items(player)
	local counts, text = {}, {}
	for _, stack in ipairs(player:get_inventory():get_list("main")) do
		if not stack:is_empty() then
			counts[stack:get_name()] = (counts[stack:get_name()] or 0) + stack:get_count()
		end
	end
	for name, count in pairs(counts) do
		text[#text + 1] = name .. count
	end
	table.sort(text)
	local key = table.concat(text, " ")
	if key ~= last_items then
		last_items = key
		say("I", counts)
	end
end

minetest.register_on_joinplayer(function(player)
	player:hud_set_flags({healthbar = false, breathbar = false, minimap = false, basic_debug = false})
	player:hud_set_hotbar_itemcount(9)
	equip(player)
end)

minetest.register_globalstep(function()
	local player = minetest.get_connected_players()[1]
	if not player then
		return
	end
	steps = steps + 1
	poll(player)
	local fast = player:get_player_control().aux1
	if fast ~= sprinting then
		sprinting = fast
		player:set_physics_override({speed = fast and SPRINT or 1})
	end
	report_items(player)
	if steps % 4 == 0 then
		nearby(player)
	end
end)
