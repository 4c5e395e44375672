"""The frames of event files, against TensorBoard's own code for them."""

import io

import pytest
from delve_tensorboard import framing
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.summary.writer.record_writer import RecordWriter

payloads = st.binary(max_size=40) | st.integers(1000, 3100).map(
    lambda n: bytes(range(256)) * 12 + b"x" * n
)


@given(payloads)
def test_a_record_is_byte_for_byte_what_tensorboard_writes(payload):
    file = io.BytesIO()
    RecordWriter(file).write(payload)
    assert framing.frame(payload) == file.getvalue()


def test_what_is_written_comes_back_and_tensorboard_reads_it(tmp_path):
    payloads = [b"", b"a", b"abc", bytes(1023), bytes(range(256)) * 4, b"z" * 5000]
    path = tmp_path / "events"
    path.write_bytes(b"".join(map(framing.frame, payloads)))
    held = list(framing.read(path))
    assert [record.payload for record in held] == payloads
    assert [record.start for record in held[1:]] == [record.end for record in held[:-1]]
    reader = PyRecordReader_New(str(path))
    for payload in payloads:
        reader.GetNext()
        assert reader.record() == payload


@pytest.mark.parametrize("byte", range(48))
def test_a_flipped_bit_anywhere_ends_the_reading_before_its_record(tmp_path, byte):
    path = tmp_path / "events"
    whole = framing.frame(b"first 12 ...") + framing.frame(b"second") + framing.frame(b"third")
    damaged = bytearray(whole)
    damaged[byte] ^= 0x10
    path.write_bytes(damaged)
    expected = [] if byte < 28 else [b"first 12 ..."]
    assert [record.payload for record in framing.read(path)] == expected


def test_a_torn_record_is_left_out(tmp_path):
    path = tmp_path / "events"
    whole = framing.frame(b"first") + framing.frame(b"second")
    for size in range(len(framing.frame(b"first")), len(whole)):
        path.write_bytes(whole[:size])
        assert [record.payload for record in framing.read(path)] == [b"first"]
