"""What stops a pen, and what must not start: H02, H12, H13, H14, H15, H16, H19, H25."""

from tests.simulation.cases.case import case, stop_at
from tests.simulation.judges.stopping import FROZEN_US
from tests.simulation.story import CARTRIDGE, REQUEST, STROKE_US, Story
from tests.simulation.truth import Kind

# --- H02, H12, H13, H14, H15, H19, H25: what stops a pen -------------------------------------------------------------


@case("H02")
def area_changed(story: Story, over: bool) -> None:
    stop_at(story.ready().start().deed(Kind.AREA_CHANGED, area="chin"), 2 * STROKE_US, over)


@case("H02")
def an_arm_on_the_way_home_in_order_stops_nothing(story: Story, over: bool) -> None:
    story.ready().start()
    if not over:
        story.deed(Kind.HALT_SENT, name="disarm")
    story.deed(Kind.AREA_CHANGED, area="chin").home()
    story.command("arm").start().home()


@case("H02")
def a_new_arm_is_needed(story: Story, over: bool) -> None:
    story.ready().start().home()
    if not over:
        story.command("arm")
    story.start().home()


@case("H02")
def an_arm_while_running_is_none(story: Story, over: bool) -> None:
    story.ready().start()
    if over:
        story.command("arm").home()
    else:
        story.home().command("arm")
    story.start().home()


@case("H12")
def motor_stalled(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.MOTOR_STALLED, stalled=True).see(rate_hz=0.0)
    stop_at(story, 3 * STROKE_US, over)


@case("H12")
def started_with_a_stalled_motor(story: Story, over: bool) -> None:
    """S is that of the slowest pen, 50 ms."""
    story.ready().deed(Kind.MOTOR_STALLED, stalled=True).start(rate_hz=100.0)
    stop_at(story, 150_000, over)


@case("H12")
def motor_stalled_on_its_way_to_its_rate(story: Story, over: bool) -> None:
    story.ready().start().see(rate_hz=89.9 if not over else 90.0)
    stop_at(story.deed(Kind.MOTOR_STALLED, stalled=True).see(rate_hz=0.0), 3 * STROKE_US, True)


@case("H12")
def free_again_in_time(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.MOTOR_STALLED, stalled=True).wait(3 * STROKE_US + over)
    story.deed(Kind.MOTOR_STALLED, stalled=False).wait(STROKE_US).home()


def almost_late(story: Story) -> Story:
    """Run on, with the lease renewed, until the needles of a frozen force sensor must be home."""
    for _ in range(4):
        story.renew().wait(FROZEN_US // 4)
    return story.renew().wait(2 * STROKE_US)


@case("H14")
def force_sensor_frozen(story: Story, over: bool) -> None:
    stop_at(almost_late(story.ready().start().deed(Kind.FORCE_STUCK, stuck=True)), 0, over)


@case("H14")
def started_with_a_frozen_force_sensor(story: Story, over: bool) -> None:
    stop_at(almost_late(story.ready().deed(Kind.FORCE_STUCK, stuck=True).start()), 0, over)


@case("H14")
def the_force_moves_again_in_time(story: Story, over: bool) -> None:
    almost_late(story.ready().start().deed(Kind.FORCE_STUCK, stuck=True)).wait(over)
    story.deed(Kind.FORCE_STUCK, stuck=False).wait(STROKE_US).home()


@case("H12")
def no_power_with_needles_out(story: Story, over: bool) -> None:
    story.ready().start().see(driven=False)
    stop_at(story, 2 * STROKE_US, over)


@case("H10")
def no_power_with_needles_out_after_a_reboot(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.PEN_REBOOTED, back_us=0).see(driven=False)
    stop_at(story, 2 * STROKE_US, over)


@case("H13")
def runaway(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.RUNAWAY, factor=1.2).see(rate_hz=120.0)
    stop_at(story, 3 * STROKE_US, over)


@case("H13")
def ten_percent_is_no_runaway(story: Story, over: bool) -> None:
    story.ready().start().see(rate_hz=110.1 if over else 110.0).wait(4 * STROKE_US).home()


@case("H13")
def a_motor_told_less_may_slow_down(story: Story, over: bool) -> None:
    story.ready().start(rate_hz=120.0 if not over else 100.0).command("set", rate_hz=100.0).see(rate_hz=119.0)
    story.wait(4 * STROKE_US).home()


@case("H15")
def cartridge_taken_out(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE | {"cartridge_id": 0})
    stop_at(story, 2 * STROKE_US, over)


@case("H19")
def disk_full(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.DISK_FULL)
    for _ in range(5):
        story.renew().wait(200_000)
    stop_at(story, 0, over)


@case("H19")
def disk_free_again_in_time(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.DISK_FULL)
    for _ in range(5):
        story.renew().wait(200_000)
    story.wait(over).deed(Kind.DISK_FREE).wait(1).home()


@case("H25")
def stop_in_two_strokes(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.STOP_PRESSED).deed(Kind.HALT_SENT, name="stop").wait(5_000)
    stop_at(story.deed(Kind.STOP_ARRIVED, host="host"), 2 * STROKE_US, over)


@case("H25")
def the_host_and_the_pen_share_two_strokes(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.STOP_PRESSED).wait(5_000).deed(Kind.HALT_SENT, name="stop").wait(30_000)
    stop_at(story.deed(Kind.STOP_ARRIVED, host="host"), 2 * STROKE_US - 5_000, over)


@case("H25")
def a_stop_leaves_the_host(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.STOP_PRESSED).wait(2 * STROKE_US - 1 + over).home()


@case("H25")
def a_disarm_is_no_stop(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.STOP_PRESSED).deed(Kind.HALT_SENT, name="disarm" if over else "stop")
    story.wait(3 * STROKE_US).home()


@case("H25")
def a_stop_of_anyone(story: Story, over: bool) -> None:
    stop_at(story.ready().start().deed(Kind.STOP_ARRIVED, host="rival"), 2 * STROKE_US, over)


@case("H25")
def the_pens_own_button(story: Story, over: bool) -> None:
    stop_at(story.ready().start().deed(Kind.BUTTON_PRESSED), 2 * STROKE_US, over)


# --- H15, H16, H19: what must not start ------------------------------------------------------------------------------


@case("H15")
def a_used_cartridge(story: Story, over: bool) -> None:
    story.ready().deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE | {"used": over}).start().home()


@case("H15")
def an_expired_cartridge(story: Story, over: bool) -> None:
    story.ready().deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE | {"expired": over}).start().home()


@case("H15")
def another_needle_count(story: Story, over: bool) -> None:
    story.ready().deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE | {"needles": 14 if over else 12}).start().home()


@case("H15")
def no_cartridge(story: Story, over: bool) -> None:
    story.ready().deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE | {"cartridge_id": 0 if over else 2}).start().home()


@case("H15")
def a_cartridge_of_an_earlier_treatment(story: Story, over: bool) -> None:
    story.ready().start().home()
    if over:
        story.deed(Kind.WRITTEN, session="s", seq=1, record_kind="summary", body={"areas": []})
        story.deed(Kind.ENDED, area=None, areas=[])
    story.deed(Kind.PREPARED).command("arm").start().home()


@case("H16")
def armed_without_the_checklist(story: Story, over: bool) -> None:
    if not over:
        story.deed(Kind.PREPARED)
    story.command("claim").deed(Kind.APPROVED, **REQUEST).command("arm")


@case("H16")
def answers_end_with_their_treatment(story: Story, over: bool) -> None:
    story.ready().deed(Kind.WRITTEN, session="s", seq=1, record_kind="summary", body={"areas": []})
    story.deed(Kind.ENDED, area=None, areas=[])
    if not over:
        story.deed(Kind.PREPARED)
    story.command("arm")


@case("H16")
def moved_without_the_checklist(story: Story, over: bool) -> None:
    story.deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE).command("claim").renew().deed(Kind.APPROVED, **REQUEST)
    if not over:
        story.deed(Kind.PREPARED)
    story.command("arm").start().home()


@case("H19")
def started_on_a_full_disk(story: Story, over: bool) -> None:
    story.ready().deed(Kind.DISK_FULL).wait(1_000).start(age_us=999 if over else 1_000).home()
