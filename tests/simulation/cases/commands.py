"""Commands, the screen, amounts and the record: H06 to H10, H14, H17."""

from typing import Any

from tests.simulation.cases.case import case, stop_at
from tests.simulation.story import CARTRIDGE, STROKE_US, Story
from tests.simulation.truth import Kind

# --- H07, H08, H09: commands -----------------------------------------------------------------------------------------


@case("H07")
def a_damaged_frame(story: Story, over: bool) -> None:
    story.ready().deed(Kind.TOUCHED, how="damaged", host="host")
    story.start(touched="damaged" if over else None).home()


@case("H07")
def motion_without_a_command(story: Story, over: bool) -> None:
    story.ready().renew()
    if not over:
        story.command("start")
    story.out().home()


@case("H07")
def a_frame_out_of_order(story: Story, over: bool) -> None:
    story.ready().command("clear" if over else "claim", touched="out of order")


@case("H07")
def a_frame_of_before_the_claim(story: Story, over: bool) -> None:
    story.ready().command("clear", age_us=STROKE_US + over)


@case("H07")
def a_frame_of_before_the_boot(story: Story, over: bool) -> None:
    story.ready().deed(Kind.PEN_REBOOTED, back_us=0).wait(STROKE_US).command("claim", age_us=STROKE_US + over)


@case("H07")
def an_older_id(story: Story, over: bool) -> None:
    story.ready().command("clear", command_id=8).command("clear", command_id=7 if over else 9)


@case("H07")
def a_repeated_frame_followed_twice(story: Story, over: bool) -> None:
    story.ready().command("clear", command_id=8).command("clear", command_id=8 + (not over), touched="repeated")


@case("H08")
def a_command_applied_twice(story: Story, over: bool) -> None:
    story.ready().command("clear", command_id=8).command("clear", command_id=8 + (not over))


@case("H08")
def a_lost_answer_is_settled(story: Story, over: bool) -> None:
    story.ready().deed(Kind.ANSWER_LOST, host="host", command_id=2)
    story.wait(400_000 + over).deed(Kind.ANSWERED, host="host", command_id=2)


@case("H08")
def a_lost_answer_ends_in_a_stop(story: Story, over: bool) -> None:
    story.ready().deed(Kind.ANSWER_LOST, host="host", command_id=2)
    story.wait(400_000 + over).deed(Kind.HALT_SENT, name="stop")


@case("H08")
def a_lost_answer_ends_with_the_needles_home(story: Story, over: bool) -> None:
    """By the pen's own lease, say, while the host has given the line up."""
    story.ready().start().deed(Kind.ANSWER_LOST, host="host", command_id=3).strokes(39)
    story.wait(400_000 - 39 * STROKE_US - 1 + over).home()


@case("H08")
def a_lost_answer_at_the_end(story: Story, over: bool) -> None:
    story.ready().deed(Kind.ANSWER_LOST, host="host", command_id=2).wait(400_000 + over)


@case("H08")
def told_as_done_while_running(story: Story, over: bool) -> None:
    story.ready().start()
    told = {"area": "cheek", "areas": []}
    if over:
        story.deed(Kind.ENDED, **told).home()
    else:
        story.home().deed(Kind.ENDED, **told)


@case("H08")
def shown_as_running_when_home(story: Story, over: bool) -> None:
    story.ready().start().home().wait(100_000 + over).deed(Kind.SHOWN, text="", running=True)


@case("H09")
def another_host_in_the_owners_time(story: Story, over: bool) -> None:
    story.ready().renew().wait(2_000_000 - over).command("claim", host="rival")


@case("H09")
def another_host_after_a_release(story: Story, over: bool) -> None:
    story.ready().command("clear" if over else "release").command("claim", host="rival")


@case("H09")
def a_command_of_another_host(story: Story, over: bool) -> None:
    story.ready().start(host="rival" if over else "host").home()


@case("H09")
def a_pen_claimed_while_running(story: Story, over: bool) -> None:
    stop_at(story.ready().start().command("claim"), 2 * STROKE_US, over)


# --- H06, H10: the screen; H14: amounts; H17: the record -------------------------------------------------------------


@case("H06")
def a_pulled_cable_on_the_screen(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.SHOWN, text="", running=True).deed(Kind.LINK_LOST, by="cable")
    story.wait(100_000 + over).deed(Kind.SHOWN, text="", running=False).home()


@case("H06")
def a_pulled_cable_never_on_the_screen(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.SHOWN, text="", running=True).deed(Kind.LINK_LOST, by="cable")
    story.wait(100_000 + over).deed(Kind.HOST_KILLED).home()


@case("H06")
def a_screen_of_a_killed_host_says_nothing(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.SHOWN, text="", running=True)
    story.deed(Kind.HOST_STALLED if over else Kind.HOST_KILLED).home()
    story.deed(Kind.HOST_WOKE if over else Kind.HOST_STARTED, host="host", again=True)
    story.deed(Kind.LINK_LOST, by="cable").wait(100_001).deed(Kind.SHOWN, text="", running=False)


@case("H10")
def a_reboot_on_the_screen(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.SHOWN, text="", running=True)
    story.deed(Kind.PEN_REBOOTED, back_us=story.t_us + 20_000)
    story.wait(120_000 + over).deed(Kind.SHOWN, text="", running=False).home()


@case("H14")
def the_budget_of_an_area(story: Story, over: bool) -> None:
    """2,520 punctures are 210 strokes; 3 more no sensor needs to see, as the tip met skin and the motor lost power."""
    story.ready(size_cm2=0.4).start().strokes(100).home().deed(Kind.PEN_REBOOTED, back_us=0).deed(Kind.RESUMED)
    story.wait(STROKE_US).command("claim").command("arm").start().strokes(113 + over).home()


@case("H14")
def a_new_treatment_has_a_new_budget(story: Story, over: bool) -> None:
    story.ready(size_cm2=0.4).start().strokes(200).home()
    if not over:
        body = {"areas": figures(2400, 200)}
        story.deed(Kind.WRITTEN, session="s", seq=1, record_kind="summary", body=body)
        story.deed(Kind.ENDED, area=None, areas=body["areas"])
        story.deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE | {"cartridge_id": 2})
    story.deed(Kind.PREPARED).command("arm").start().strokes(100).home()


@case("H17")
def a_gap_in_the_record(story: Story, over: bool) -> None:
    story.deed(Kind.WRITTEN, session="s", seq=1, record_kind="event", body={})
    story.deed(Kind.WRITTEN, session="s", seq=2 + over, record_kind="event", body={})


@case("H17")
def a_double_in_the_record(story: Story, over: bool) -> None:
    story.deed(Kind.WRITTEN, session="s", seq=1, record_kind="event", body={})
    story.deed(Kind.WRITTEN, session="s", seq=2 - over, record_kind="event", body={})


def figures(punctures: int, strokes: int = 10, uncertain_punctures: int = 0) -> list[dict[str, Any]]:
    return [{"area": "cheek", "strokes": strokes, "punctures": punctures, "uncertain_punctures": uncertain_punctures}]


@case("H17")
def told_but_not_in_the_record(story: Story, over: bool) -> None:
    story.ready().start().strokes(10).home()
    body = {"areas": figures(119 if over else 120)}
    story.deed(Kind.WRITTEN, session="s", seq=1, record_kind="summary", body=body)
    story.deed(Kind.ENDED, area=None, areas=figures(120))


@case("H17")
def punctures_told_and_fewer_made(story: Story, over: bool) -> None:
    story.ready().start().strokes(10).home().deed(Kind.ENDED, area="cheek", areas=figures(96 - over))


@case("H17")
def punctures_told_and_made(story: Story, over: bool) -> None:
    """120 were made, and 24 may have been: as the tip met skin and as the motor was without power."""
    story.ready().start().strokes(10).home().deed(Kind.ENDED, area="cheek", areas=figures(144 + over))


@case("H17")
def punctures_told_by_a_frozen_sensor(story: Story, over: bool) -> None:
    """Another 120: each stroke may have been counted or not."""
    story.ready().start().deed(Kind.FORCE_STUCK, stuck=True).strokes(10).home()
    story.deed(Kind.ENDED, area="cheek", areas=figures(264 + over))


@case("H17")
def strokes_told_and_made(story: Story, over: bool) -> None:
    story.ready().start().strokes(10).home().deed(Kind.ENDED, area="cheek", areas=figures(120, 10 - over))


@case("H17")
def uncertain_punctures_hold_the_truth(story: Story, over: bool) -> None:
    story.ready().start().strokes(10).home()
    story.deed(Kind.ENDED, area="cheek", areas=figures(80, 0, 16 - over))
