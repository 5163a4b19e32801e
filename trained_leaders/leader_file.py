"""Reading a stranger's `leader.pt` safely: judged byte by byte before anything in it is believed.

A leader file is what `torch.save` writes, a zip of stored members around one small pickle. Here it is read
without
torch and without running anything: members are counted and measured, the zip's bytes must be exactly the
    ones such a writer produces, the pickle's opcodes and globals come from an allow-list, and tensors are
    built by our own code from dense storages. Each refusal is a `LeaderFileError` whose sentence names the
    rule.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import pickletools
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import LeaderFileError, UnreadableError

FORMAT, VERSION = "spverify-leader", 1
MAX_FILE_BYTES = 16 * 2**20
MAX_MEMBERS = 128
MAX_PICKLE_BYTES = 2**20
MAX_VALUES = 200_000
MAX_DEPTH = 16
MAX_HIDDEN, MAX_WIDTH = 4, 1024
PROBES = ("repeat", "order", "single", "outside", "mode")

_OPCODES = frozenset(
    """
    PROTO EMPTY_DICT EMPTY_LIST EMPTY_TUPLE BINPUT LONG_BINPUT BINGET LONG_BINGET MARK BINUNICODE BININT
    BININT1 BININT2 LONG1 BINFLOAT NONE NEWTRUE NEWFALSE APPEND APPENDS SETITEM SETITEMS TUPLE TUPLE1 TUPLE2 TUPLE3
    GLOBAL BINPERSID REDUCE STOP
    """.split()  # noqa: SIM905
)
_DTYPES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch LongStorage": np.dtype("<i8"),
}
_REBUILD, _ORDERED = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_BESIDE_DATA = ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")


@dataclass(frozen=True)
class LeaderFile:
    """What a leader file says, validated in form; whether it is *true* is for the audit.

    Args:
        sha256, size: digest and length of the file's bytes.
        setting, parameters: which world the leader was made for.
        policy: kind, parametrisation and table; see `checkpoint.py`.
        tensors: read-only arrays by name.
        training, claims: the trainer's record, data to be checked.
    """

    sha256: str
    size: int
    setting: str
    parameters: dict[str, Any]
    policy: dict[str, Any]
    tensors: dict[str, NDArray[Any]] = field(repr=False)
    training: dict[str, Any]
    claims: dict[str, Any]


def read_leader(path: str | Path) -> LeaderFile:
    """Read and validate a leader file without executing anything in it.

    Raises:
        LeaderFileError: the file breaks a rule; the message names it.
        UnreadableError: no such file, or it cannot be opened.
    """
    data = _read_bytes(Path(path))
    try:
        document = parse_leader_bytes(data)
        return check_document(document, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    except LeaderFileError as error:
        raise error.at(path) from None


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}", path=path) from error
    if len(data) > MAX_FILE_BYTES:
        raise LeaderFileError(f"the file is larger than {MAX_FILE_BYTES} bytes, the most allowed", path=path)
    return data


def parse_leader_bytes(data: bytes) -> dict[str, Any]:
    """The document inside a leader file, tensors as arrays; raises `LeaderFileError` on any broken rule."""
    members = _members(data)
    _check_pickle(members["data.pkl"])
    storages = {name[5:]: raw for name, raw in members.items() if name.startswith("data/")}
    reader = _Reader(members["data.pkl"], storages)
    try:
        document = reader.load()
    except LeaderFileError:
        raise
    except RecursionError as error:
        raise LeaderFileError("the pickle is nested too deeply") from error
    except Exception as error:
        raise LeaderFileError(f"the pickle is malformed ({type(error).__name__}: {error})") from error
    unused = sorted(set(storages) - reader.used)
    if unused:
        raise LeaderFileError(f"storage data/{unused[0]} belongs to no tensor")
    _check_values(document)
    return document


# --- the zip ---


def _members(data: bytes) -> dict[str, bytes]:
    """Member contents by name (archive prefix removed), after checking every byte around them."""
    if not data:
        raise LeaderFileError("the file is empty; expected a leader file written by `spverify train`")
    if data[:4] != b"PK\x03\x04":
        raise LeaderFileError("not a leader file: expected a torch zip archive (it should start with 'PK')")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, struct.error, NotImplementedError) as error:
        raise LeaderFileError(f"the zip archive is truncated or damaged ({error})") from error
    if not 0 < len(entries) <= MAX_MEMBERS:
        raise LeaderFileError(f"the zip archive has {len(entries)} members; at most {MAX_MEMBERS} are allowed")
    if {"data", "policy.pth"} <= {entry.filename for entry in entries}:
        raise LeaderFileError(
            "this is a Stable-Baselines3 archive, which holds pickled objects and is never opened; export its policy "
            "with spverify.save_leader (docs/leaders-from-elsewhere.md)"
        )
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise LeaderFileError(f"member {entry.filename!r} is compressed; only stored members are allowed")
    if sum(entry.file_size for entry in entries) > len(data):
        raise LeaderFileError("the members claim more bytes than the file has")
    prefix = entries[0].filename.split("/", 1)[0] + "/"
    members: dict[str, bytes] = {}
    for entry in entries:
        name = entry.filename.removeprefix(prefix)
        known = (
            name == "data.pkl"
            or name in _BESIDE_DATA
            or (name[:5] == "data/" and name[5:].isascii() and name[5:].isdigit())
        )
        if not entry.filename.startswith(prefix) or not known:
            raise LeaderFileError(f"unexpected member {entry.filename!r} in the archive")
        if name in members:
            raise LeaderFileError(f"member {entry.filename!r} appears twice")
        start = _payload_start(data, entry)
        members[name] = data[start : start + entry.file_size]
        if len(members[name]) != entry.file_size or zlib.crc32(members[name]) != entry.CRC:
            raise LeaderFileError(f"member {entry.filename!r} is damaged: its checksum does not match")
    if "data.pkl" not in members:
        raise LeaderFileError("the archive has no data.pkl, so it is not a torch file")
    if len(members["data.pkl"]) > MAX_PICKLE_BYTES:
        raise LeaderFileError(f"data.pkl has {len(members['data.pkl'])} bytes; at most {MAX_PICKLE_BYTES} are allowed")
    for name, expected in (("version", b"3\n"), ("byteorder", b"little")):
        if name in members and members[name] != expected:
            raise LeaderFileError(f"member {name!r}: expected {expected!r}, got {members[name][:20]!r}")
    if _torch_layout(data, entries, members, prefix) != data:
        raise LeaderFileError("bytes between the zip members were changed: the file is damaged or not from torch.save")
    return members


def _payload_start(data: bytes, entry: zipfile.ZipInfo) -> int:
    header = data[entry.header_offset : entry.header_offset + 30]
    if len(header) < 30:
        raise LeaderFileError(f"member {entry.filename!r} lies outside the file")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    return entry.header_offset + 30 + name_length + extra_length


def _torch_layout(data: bytes, entries: list[zipfile.ZipInfo], members: dict[str, bytes], prefix: str) -> bytes:
    """The archive torch.save would write around these members; only padding lengths come from the file.

    Comparing the whole file with this leaves no byte unchecked: flipped flags, hidden or overlapping
    members, text before or after the archive all differ.
    """
    out = bytearray()
    directory = bytearray()
    for entry in entries:
        content = members[entry.filename.removeprefix(prefix)]
        name = entry.filename.encode("utf-8")
        padding = _payload_start(data, entry) - entry.header_offset - 30 - len(name) - 4
        if padding < 0:
            raise LeaderFileError(f"member {entry.filename!r} has a header torch.save does not write")
        offset = len(out)
        out += struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 0, 0x0808, 0, 0, 0, 0, 0, 0, len(name), padding + 4)
        out += name + struct.pack("<2sH", b"FB", padding) + b"Z" * padding + content
        sizes = (zlib.crc32(content), len(content), len(content))
        out += struct.pack("<4sIII", b"PK\x07\x08", *sizes)
        directory += struct.pack("<4sHHHHHHIII", b"PK\x01\x02", 0, 0, 0x0808, 0, 0, 0, *sizes)
        directory += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, offset) + name
    start, count = len(out), len(entries)
    end = start + len(directory)
    out += directory
    out += struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 0x031E, 45, 0, 0, count, count, len(directory), start)
    out += struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    out += struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    return bytes(out)


# --- the pickle ---


def _check_pickle(raw: bytes) -> None:
    """Every opcode and every global comes from the allow-list; nothing has been executed yet."""
    position = None
    try:
        for opcode, argument, position in pickletools.genops(raw):
            if opcode.name not in _OPCODES:
                raise LeaderFileError(f"the pickle uses opcode {opcode.name} at byte {position}, which is not allowed")
            if opcode.name == "GLOBAL" and argument not in (*_DTYPES, _REBUILD, _ORDERED):
                dotted = str(argument).replace(" ", ".")
                raise LeaderFileError(f"the pickle names {dotted}, which is not allowed: leaders hold data only")
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise LeaderFileError(f"the pickle is malformed ({error})") from error
    if position is None or position + 1 != len(raw):
        raise LeaderFileError("bytes follow the end of the pickle")


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    raw: bytes


class _Reader(pickle.Unpickler):
    """Builds plain values and read-only arrays; the only callables it knows are its own two."""

    def __init__(self, raw: bytes, storages: dict[str, bytes]) -> None:
        super().__init__(io.BytesIO(raw))
        self._storages = storages
        self.used: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        found = f"{module} {name}"
        if found == _REBUILD:
            return self._tensor
        if found == _ORDERED:
            return _NoHooks
        if found in _DTYPES:
            return _DTYPES[found]
        raise LeaderFileError(f"the pickle names {module}.{name}, which is not allowed")

    def persistent_load(self, pid: Any) -> _Storage:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and pid[3] == "cpu"):
            raise LeaderFileError("a storage reference is malformed")
        _, dtype, key, _, count = pid
        if not isinstance(dtype, np.dtype) or not isinstance(key, str) or key not in self._storages:
            raise LeaderFileError(f"a tensor refers to a storage {key!r} that the file does not have")
        if key in self.used:
            raise LeaderFileError(f"two tensors share the storage data/{key}")
        raw = self._storages[key]
        if type(count) is not int or count * dtype.itemsize != len(raw):
            raise LeaderFileError(f"storage data/{key} should hold {count} numbers but has {len(raw)} bytes")
        self.used.add(key)
        return _Storage(key, dtype, raw)

    def _tensor(self, *arguments: Any) -> NDArray[Any]:
        if len(arguments) != 6 or not isinstance(arguments[0], _Storage):
            raise LeaderFileError("a tensor is built from unexpected parts")
        storage, offset, shape, stride, requires_grad, hooks = arguments
        if requires_grad is not False or not isinstance(hooks, _NoHooks):
            raise LeaderFileError("a tensor carries gradients or hooks")
        sizes_fit = isinstance(shape, tuple) and len(shape) <= 2 and all(type(s) is int and s >= 0 for s in shape)
        if not sizes_fit:
            raise LeaderFileError(f"a tensor has shape {str(shape)[:60]}; at most two plain dimensions are allowed")
        dense = tuple(int(np.prod(shape[k + 1 :], dtype=object)) for k in range(len(shape)))
        count = len(storage.raw) // storage.dtype.itemsize
        total = int(np.prod(shape, dtype=object))
        if offset != 0 or total != count or (total and tuple(stride) != dense):
            raise LeaderFileError(
                f"a tensor of shape {shape} and stride {str(stride)[:60]} is no dense view of {count} numbers"
            )
        array = np.frombuffer(storage.raw, dtype=storage.dtype).reshape(shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise LeaderFileError(f"tensor data/{storage.key} holds NaN or infinite numbers")
        return array


class _NoHooks:
    """Stands for the empty OrderedDict that torch writes beside each tensor."""


def _check_values(document: Any) -> None:
    """Walk the document without recursion: plain values only, none shared, none too deep, none too many."""
    if not isinstance(document, dict):
        raise LeaderFileError(f"expected one dictionary in the file, got {type(document).__name__}")
    seen: set[int] = set()
    queue: list[tuple[Any, str, int]] = [(document, "", 0)]
    count = 0
    while queue:
        value, where, depth = queue.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise LeaderFileError(f"the document has more than {MAX_VALUES} values or is deeper than {MAX_DEPTH}")
        if isinstance(value, dict | list):
            if id(value) in seen:
                raise LeaderFileError("a list or dictionary appears in more than one place", field=where)
            seen.add(id(value))
            if isinstance(value, dict):
                for key in value:
                    if type(key) is not str:
                        raise LeaderFileError(f"a key is not text but {type(key).__name__}", field=where)
                queue.extend((item, f"{where}.{key}".lstrip("."), depth + 1) for key, item in value.items())
            else:
                queue.extend((item, f"{where}[{k}]", depth + 1) for k, item in enumerate(value))
        elif isinstance(value, np.ndarray):
            if not where.startswith("tensors."):
                raise LeaderFileError("a tensor stands outside 'tensors'", field=where)
        elif type(value) is int:
            if abs(value) >= 2**63:
                raise LeaderFileError("a whole number does not fit 64 bits", field=where)
        elif type(value) is float:
            if not isfinite(value):
                raise LeaderFileError(f"expected a finite number, got {value}", field=where)
        elif value is not None and type(value) not in (str, bool):
            raise LeaderFileError(f"a value of kind {type(value).__name__} is not allowed", field=where)


# --- the document ---

_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "": {
        "format": str, "version": int, "setting": dict, "policy": dict, "tensors": dict, "training": dict,
        "claims": dict,
    },
    "setting": {"name": str, "parameters": dict},
    "policy": {
        "kind": str, "leader_action": str, "table": list, "rows": list, "hidden": list, "activation": str,
        "grid": int, "origin": dict,
    },
    "policy.origin": {"source": str, "encoding": str, "illegal": str, "probes": list},
    "training": {
        "algorithm": str, "mode": str, "followers": dict, "seed": int, "steps": int, "seconds": float,
        "versions": dict, "horizon": int, "readout": str, "hyper": dict, "command": str, "status": str,
        "optimality": dict, "enumerated": int,
    },
    "training.followers": {
        "updates": int, "epsilon": float, "types": str, "opponents": str, "rule": str, "rate": float,
        "discount": float, "exploration": float, "decay": float, "initial": str,
    },
    "claims": {"value": dict, "gap": dict, "updates": int, "runs": int, "rng_seed": int},
    "claims.value": {"empirical": float, "last": float, "argmax": float, "best-reply": float},
    "claims.gap": {"empirical": float, "last": float, "argmax": float, "best-reply": float},
}  # fmt: skip
_REQUIRED = {
    "": tuple(_FIELDS[""]),
    "setting": ("name", "parameters"),
    "policy": ("kind", "leader_action"),
    "training.followers": ("updates", "epsilon", "types", "opponents"),
    "claims": (),
}


def check_document(document: dict[str, Any], *, sha256: str, size: int) -> LeaderFile:
    """Known fields of the right kind, nothing else; raises `LeaderFileError` naming the field."""
    if document.get("format") != FORMAT:
        raise LeaderFileError(f"expected format {FORMAT!r}, got {document.get('format')!r}", field="format")
    if document.get("version") != VERSION or type(document["version"]) is not int:
        raise LeaderFileError(f"expected version {VERSION}, got {document.get('version')!r}", field="version")
    for place, known in _FIELDS.items():
        part: Any = document
        for key in filter(None, place.split(".")):
            part = part.get(key, {})
        for key, value in part.items():
            here = f"{place}.{key}".lstrip(".")
            if key not in known:
                raise LeaderFileError(f"unknown field; known here: {', '.join(known)}", field=here)
            expected = known[key]
            fits = type(value) is expected or (expected is float and type(value) is int)
            if not fits:
                raise LeaderFileError(f"expected {_word(expected)}, got {_word(type(value))}", field=here)
        for key in _REQUIRED.get(place, ()):
            # Followers may be left out; Q-learners have a rule of their own instead of a rate and feedback modes.
            free = place == "training.followers" and (not part or ("rule" in part and key != "updates"))
            if key not in part and not free:
                raise LeaderFileError("a required field is missing", field=f"{place}.{key}".lstrip("."))
    _check_policy(document["policy"], document["tensors"])
    return LeaderFile(
        sha256=sha256,
        size=size,
        setting=document["setting"]["name"],
        parameters=document["setting"]["parameters"],
        policy=document["policy"],
        tensors=document["tensors"],
        training=document["training"],
        claims=document["claims"],
    )


def _check_policy(policy: dict[str, Any], tensors: dict[str, Any]) -> None:
    if policy["kind"] not in ("table", "network"):
        raise LeaderFileError(f"expected 'table' or 'network', got {policy['kind']!r}", field="policy.kind")
    if policy["leader_action"] not in ("pure", "mixture"):
        raise LeaderFileError(
            f"expected 'pure' or 'mixture', got {policy['leader_action']!r}", field="policy.leader_action"
        )
    wanted, other = ("table", "rows") if policy["leader_action"] == "pure" else ("rows", "table")
    if wanted not in policy or other in policy:
        raise LeaderFileError(f"a {policy['leader_action']} leader must have 'policy.{wanted}' only", field="policy")
    if "origin" in policy:
        _check_origin(policy["origin"])
    network_fields = {"hidden", "activation"} | ({"grid"} if policy["leader_action"] == "mixture" else set())
    given = set(policy) & {"hidden", "activation", "grid"}
    if given != (network_fields if policy["kind"] == "network" else set()):
        raise LeaderFileError(
            f"a {policy['kind']} policy must have {sorted(network_fields)} if and only if it is a network",
            field="policy",
        )
    if policy["kind"] == "table":
        if tensors:
            raise LeaderFileError("a table policy has no tensors", field="tensors")
        return
    hidden = policy["hidden"]
    if len(hidden) > MAX_HIDDEN or any(type(width) is not int or not 1 <= width <= MAX_WIDTH for width in hidden):
        raise LeaderFileError(
            f"expected at most {MAX_HIDDEN} widths of 1..{MAX_WIDTH}, got {hidden}", field="policy.hidden"
        )
    if policy["activation"] not in ("relu", "tanh"):
        raise LeaderFileError(f"expected 'relu' or 'tanh', got {policy['activation']!r}", field="policy.activation")
    if policy["leader_action"] == "mixture" and not 1 <= policy["grid"] <= 2**30:
        raise LeaderFileError(f"expected 1..2^30, got {policy['grid']}", field="policy.grid")


def _check_origin(origin: dict[str, Any]) -> None:
    """Where a policy came from, and what perturbing it showed: name, evaluations, answers changed, difference."""
    for key in ("source", "probes"):
        if key not in origin:
            raise LeaderFileError("a required field is missing", field=f"policy.origin.{key}")
    for key in ("source", "encoding", "illegal"):
        said = origin.get(key, "")
        if len(said) > 200 or not said.isprintable():
            raise LeaderFileError("expected at most 200 printable characters", field=f"policy.origin.{key}")
    names = []
    for k, probe in enumerate(origin["probes"]):
        fits = (
            type(probe) is list
            and [type(entry) for entry in probe] == [str, int, int, float]
            and probe[0] in PROBES
            and 0 <= probe[2] <= probe[1] > 0
            and probe[3] >= 0
        )
        if not fits or probe[0] in names:
            raise LeaderFileError(
                f"expected [name, evaluations, changed, difference], each name of {', '.join(PROBES)} once, "
                f"got {str(probe)[:60]}",
                field=f"policy.origin.probes[{k}]",
            )
        names.append(probe[0])


def _word(kind: Any) -> str:
    names = {
        dict: "a dictionary",
        list: "a list",
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "a truth value",
    }
    return names.get(kind, "nothing" if kind is type(None) else str(getattr(kind, "__name__", kind)))
