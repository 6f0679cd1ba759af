"""What a place writes on its connection, to the byte: an answer is taken for that of its own post, and of no other."""

import json
import socket
import threading
from contextlib import suppress

import pytest

from tenfold.core.errors import Unavailable


class Wire:
    """Answers each post with the next of `answers` as it is written there, then "200"; `taken` says what it answered 200 to, and on which connection."""

    def __init__(self):
        self.answers: list[bytes] = []
        self.taken: list[tuple[str, int]] = []
        self.connections: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/hook"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections.append(connection)
            number = len(self.connections)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        with suppress(ConnectionError), connection, connection.makefile("rwb") as file:
            while file.readline():
                size = 0
                while (header := file.readline()) != b"\r\n":
                    name, _, value = header.partition(b":")
                    size = int(value) if name.lower() == b"content-length" else size
                rows = json.loads(file.read(size))
                answer = self.answers.pop(0) if self.answers else final(200)
                if b" 200 " in answer:
                    self.taken += [(row["prediction_id"], number) for row in rows]
                file.write(answer)
                file.flush()
                if b"connection: close" in answer:
                    return

    def stop(self):
        self._server.close()


def final(status, text=b"ok"):
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text)


EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"


@pytest.fixture
def wire():
    wire = Wire()
    yield wire
    wire.stop()


def test_an_interim_answer_is_not_the_answer_and_none_is_taken_for_that_of_the_next_post(place, wire):
    wire.answers = [EARLY + b"HTTP/1.1 102 X\r\n\r\n" + final(200), EARLY + final(200), EARLY + final(500)]
    delivery = place.delivery(wire.url)
    for name in ("a", "b"):
        place.answer(name)
        assert delivery.send() == 1
    place.answer("c")
    with pytest.raises(Unavailable, match="answered 500: ok"):
        delivery.send()
    assert (delivery.waiting().answers, delivery.waiting().refused) == (1, {})
    assert delivery.send() == 1
    assert wire.taken == [("a", 1), ("b", 1), ("c", 1)]


UNSURE = {
    "another protocol": b"HTTP/1.1 101 X\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 X\r\ncontent-length: 2\r\ncontent-length: 40\r\n\r\nok",
    "a length that is none": b"HTTP/1.1 200 X\r\ncontent-length: +2\r\n\r\nok",
    "a length and chunks": b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "no content with some": b"HTTP/1.1 204 X\r\ncontent-length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("answer", UNSURE.values(), ids=UNSURE)
def test_after_an_answer_of_which_the_end_is_not_sure_another_connection_is_used(place, wire, answer):
    delivery = place.delivery(wire.url)
    place.answer("a")
    wire.answers = [answer, final(503)]
    delivery.send()
    place.answer("b")
    with pytest.raises(Unavailable, match="answered 503"):
        delivery.send()
    assert delivery.send() == 1
    assert wire.taken[-1] == ("b", 2)


SHORT = {
    "a length": b"HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 100\r\n\r\nok",
    "chunks": b"HTTP/1.1 200 X\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nok",
    "a refusal": b"HTTP/1.1 401 X\r\nconnection: close\r\ncontent-length: 100\r\n\r\nno",
}


@pytest.mark.parametrize("answer", SHORT.values(), ids=SHORT)
def test_an_answer_that_is_cut_short_is_none_and_the_rows_are_sent_again(place, wire, answer):
    delivery = place.delivery(wire.url)
    place.answer("a")
    wire.answers = [answer]
    with pytest.raises(Unavailable) as cut:
        delivery.send()
    assert str(cut.value) == f"no answer from {wire.url}: the answer was cut short."
    assert (delivery.waiting().answers, delivery.waiting().refused) == (1, {})
    assert delivery.send() == 1
    assert wire.taken[-1] == ("a", 2)
    place.answer("b")
    wire.answers = [answer]  # on a connection that was left open, which is tried twice
    assert delivery.send() == 1
    assert wire.taken[-1] == ("b", 3)


def test_an_answer_in_chunks_of_a_size_below_zero_is_none_and_the_rows_are_sent_again(place, wire):
    delivery = place.delivery(wire.url)
    place.answer("a")
    wire.answers = [b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n"]
    with pytest.raises(Unavailable) as broken:
        delivery.send()
    assert str(broken.value) == f"no answer from {wire.url}: the answer is not HTTP."
    assert (delivery.waiting().answers, delivery.waiting().refused) == (1, {})
    assert delivery.send() == 1
    assert wire.taken == [("a", 1), ("a", 2)]


def test_what_comes_before_a_post_is_no_answer_to_it(place, wire):
    delivery = place.delivery(wire.url)
    place.answer("a")
    assert delivery.send() == 1
    wire.connections[0].sendall(final(200))
    place.answer("b")
    wire.answers = [final(503)]
    with pytest.raises(Unavailable, match="answered 503"):
        delivery.send()
    assert delivery.send() == 1
    assert wire.taken == [("a", 1), ("b", 2)]


LOUD = "\x1b]0;owned\x07\x1b[2J\x1b[31mRED\r\nnot me\u202e\x85".encode()


def test_what_a_place_says_can_be_printed_on_one_line(place, wire):
    delivery = place.delivery(wire.url)
    place.answer("a")
    wire.answers = [b"\x1b[2Jno HTTP\r\n\r\n", final(503, LOUD), final(401, LOUD)]
    with pytest.raises(Unavailable) as other:
        delivery.send()
    assert str(other.value) == f"no answer from {wire.url}: [2Jno HTTP."
    with pytest.raises(Unavailable) as busy:
        delivery.send()
    assert str(busy.value) == f"{wire.url} answered 503: ]0;owned [2J [31mRED not me."
    assert delivery.send() == 0
    assert delivery.waiting().refused == {f"{wire.url} answered 401: ]0;owned [2J [31mRED not me.": 1}


@pytest.mark.parametrize("answer", [final(200), b"HTTP/1.1 204 X\r\n\r\n"], ids=["200", "204"])
def test_a_connection_is_used_again_after_a_whole_answer(place, wire, answer):
    delivery = place.delivery(wire.url)
    wire.answers = [answer, b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
    for name in ("a", "b", "c"):
        place.answer(name)
        assert delivery.send() == 1
    assert len(wire.connections) == 1
