"""The controller's end of the shim, without a game."""

from worldsim.envs.luanti.shim import Lockstep


def test_a_game_that_is_gone_is_told_by_waiting_whoever_speaks_last():
    lockstep = Lockstep(16, 16)
    lockstep.there.sendall(b"f")
    assert lockstep.wait(1)
    lockstep.started()
    # It died before it was told to go on: there is nobody to send to.
    lockstep.advance()
    assert not lockstep.wait(1)
    lockstep.close()
