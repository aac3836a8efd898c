"""What running jobs say, gathered between two deliveries."""

from __future__ import annotations

from gigq.worker.notes import LONGEST, Notes, Progress


def test_what_there_is_no_room_for_is_dropped_from_the_beginning_and_counted() -> None:
    notes: Notes[str] = Notes(lambda: None)
    notes.write("loud", "a" * LONGEST)
    notes.write("loud", "b" * 10)
    notes.write("louder", "c" * 7 + "d" * LONGEST)
    notes.write("quiet", "e")
    texts = {run: note.text for run, note in notes.take()}
    assert texts == {
        "loud": f"[... {LONGEST:,} characters were dropped here ...]\n" + "b" * 10,
        "louder": "[... 7 characters were dropped here ...]\n" + "d" * LONGEST,
        "quiet": "e",
    }
    assert not notes


def test_who_delivers_is_woken_by_the_first_word_only_and_the_newest_progress_counts() -> None:
    woken: list[None] = []
    notes: Notes[str] = Notes(lambda: woken.append(None))
    for done in (1.0, 2.0):
        notes.progress("one", Progress(done, None, None))
    notes.write("other", "word")
    assert len(woken) == 1
    assert [(run, note.progress) for run, note in notes.take("one")] == [("one", Progress(2.0, None, None))]
    assert notes
