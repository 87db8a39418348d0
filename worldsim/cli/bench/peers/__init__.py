"""``worldsim bench peers``: other world models beside this one."""
