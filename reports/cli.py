"""The command line: `spverify report | train | claims | check | bounds | replay | recheck | settings | show`.

Each command imports what it needs when it runs, so that `--help` loads no numpy and `recheck` loads the kernel alone.
Answers go to standard output, everything else to standard error; bad input is one sentence and exit code 2.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ..verify.errors import SpverifyError, UsageError
from .answer import check_folder

EXIT_REFUSED, EXIT_BUG, EXIT_INTERRUPTED = 2, 70, 130
_EXITS = {"holds": 0, "refuted": 1, "inconclusive": 3}
# typer brings its own click in new versions and uses the installed one in old ones; both name the class alike.
_ClickException: type[Any] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="spverify",
    help="Train Stackelberg leaders, and prove what their followers' equilibria can do to them.",
    epilog="Exit codes: 0 holds, 1 refuted, 3 inconclusive, 2 the question could not be put. "
    "Every command takes --json, and --help says more.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Epsilon = Annotated[str, typer.Option(help="Largest gain from a deviation that is allowed: 0.05, 1/20, ... (exact).")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for certificates.", show_default=False)]
AllowImport = Annotated[
    str | None,
    typer.Option(metavar="PKG.MODULE:NAME", help="A setting of your own that may be imported.", show_default=False),
]


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback if spverify itself fails.")] = False,
) -> None:
    """Options of every command; `--debug` is read by `main`."""


# ------------------------------------------------------------------------------------------ commands


@app.command(rich_help_panel="Leaders")
def report(
    leaders: Annotated[list[str], typer.Argument(metavar="LEADER.pt...", help="Leader files, or zoo:NAME.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the report; NAME-report if left out.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds, horizons and epsilons: seconds.")] = False,
    epsilon: Annotated[str, typer.Option(help="Largest gap allowed, in units of the setting's payoff scale.")] = "0.05",
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Replays of the followers' learning.")] = None,
    rng_seed: Annotated[int, typer.Option(min=0, help="Seed of the replays.")] = 0,
    within: Annotated[
        str, typer.Option(help="Largest distance from a known optimum, as a share of what is at stake.")
    ] = "0.05",
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JUnit XML for CI, all leaders in one.", show_default=False)
    ] = None,
    allow_import: AllowImport = None,
    as_json: Json = False,
) -> None:
    """Audit leaders: value, proved range, gap, replays, claims; terminal, HTML, Markdown, JSON and certificates."""
    from .command_report import run_report

    verdict = run_report(
        leaders,
        out=out,
        quick=quick,
        epsilon=epsilon,
        seeds=seeds,
        rng_seed=rng_seed,
        within=within,
        junit=junit,
        allow_import=allow_import,
        as_json=as_json,
        say=_say,
    )
    raise typer.Exit(_EXITS[verdict])


@app.command(rich_help_panel="Leaders")
def train(
    setting: Annotated[
        str, typer.Argument(help="A setting; `spverify settings` lists them. Or your own: package.module:Name.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The leader file to write.")] = Path("leader.pt"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training.")] = 0,
    seeds: Annotated[
        str | None, typer.Option(help="Several seeds: how many from --seed on, 0,3 or 0-9.", show_default=False)
    ] = None,
    leader_action: Annotated[
        str | None, typer.Option(help="pure, or mixture as the action.", show_default=False)
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="ppo (default), unrolled, mappo, episode, basic, search, structured or enumerate.", show_default=False
        ),
    ] = None,
    set_param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of the setting.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default=False)] = None,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Followers' updates in one response phase.", show_default=False)
    ] = None,
    hyper: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Any other hyper-parameter, such as restarts=8.", show_default=False),
    ] = None,
    paper: Annotated[
        int | None, typer.Option(min=4, max=5, help="Followers of this version of the paper.", show_default=False)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu (default), or cuda for --mode unrolled.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Seeds trained side by side.")] = 1,
    backend: Annotated[str, typer.Option(help="Where they run: loky (this machine), ray or dask.")] = "loky",
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for TensorBoard's event files.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short training.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from an interrupted training.")] = False,
    as_json: Json = False,
) -> None:
    """Learn a leader; prints its value and gap under the three readouts."""
    from .command_train import parse_seeds, run_train

    options = {"leader_action": leader_action, "mode": mode, "steps": steps, "updates": updates}
    given = {name: value for name, value in options.items() if value is not None}
    documents = run_train(
        setting,
        parameters=_parameters(set_param or []),
        hyper=_parameters(hyper or [], "--hyper"),
        paper=paper,
        device=device,
        seeds=parse_seeds(seeds, seed),
        out=out,
        quick=quick,
        resume=resume,
        jobs=jobs,
        backend=backend,
        tensorboard=tensorboard,
        say=_say,
        **given,
    )
    if as_json:
        _print_json(documents[0] if len(documents) == 1 else documents)
        return
    from .render.text import train_text

    print(train_text(documents, str(out)))


@app.command(rich_help_panel="Leaders")
def claims(
    file: Annotated[str, typer.Argument(metavar="FILE.toml", help="A claims file, or paper:stackelberg-pomdp.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for a page, Markdown and JSON.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute the figures that a paper claims: each holds, is refuted, or cannot be decided here."""
    from .command_claims import run_claims

    answer = run_claims(file, out=out, progress=_say if sys.stderr.isatty() else None)
    if as_json:
        _print_json(answer.document)
    else:
        from .render.text import claims_text

        print(claims_text(answer.document))
        if answer.files:
            print(f"\nReport: {answer.files[0]}")
    raise typer.Exit(_EXITS[answer.document["verdict"]])


@app.command(rich_help_panel="Games and plays")
def check(
    game: Annotated[str, typer.Argument(help="A game file (.game.json, .npz, .nfg); - is standard input.")],
    play: Annotated[str, typer.Argument(help="A play file (.play.json, .npz), or a log (.csv, .parquet).")],
    epsilon: Epsilon = "0",
    level: Annotated[float, typer.Option(help="Confidence level of what a log says.")] = 0.95,
    drift: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="You vouch that strategies moved by at most this between rounds of a log; then correlation refutes "
            "independence.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Is this play an epsilon-BCCE? Its exact gap, who gains, and a certificate."""
    tolerance = _epsilon(epsilon)
    _check_level(level)
    if drift is not None and not math.isfinite(drift):
        raise UsageError(f"--drift: expected a finite number, got {drift}")
    _one_stdin(game, play)
    check_folder(out)
    from ..verify.formats import read_game, read_play
    from ..verify.formats.logs import is_long_log, read_history
    from .command_check import check_play

    the_game = read_game(game)
    the_play = read_history(play, the_game) if is_long_log(play) else read_play(play, the_game)
    answer = check_play(the_game, the_play, epsilon=tolerance, level=level, drift=drift, out=out)
    if out is not None and not answer.files:
        _say("a log certifies no play, so no certificate was written")
    if as_json:
        _print_json(answer.document)
    else:
        from .render.text import check_text

        print(check_text(answer.document, the_game.players))
    raise typer.Exit(_EXITS[answer.document["verdict"]])


def _coalition(text: str | None, n: int) -> list[int]:
    """The players that --coalition names; none where it is left out."""
    if text is None or text == "all":
        return [] if text is None else list(range(n))
    names = [name.strip() for name in text.split(",")]
    if not all(name.isascii() and name.isdigit() and int(name) < n for name in names):
        raise UsageError(f"--coalition: expected all, or players from 0 to {n - 1} as in 0,1, got {text!r}")
    return [int(name) for name in names]


@app.command(rich_help_panel="Games and plays")
def bounds(
    game: Annotated[str, typer.Argument(help="A game file (.game.json, .npz, .nfg); - is standard input.")],
    objective: Annotated[
        str | None,
        typer.Option(
            help="leader, welfare, player:I or an array file (.json, .npy); the leader's value if the game has it.",
            show_default=False,
        ),
    ] = None,
    equilibrium_set: Annotated[
        str | None,
        typer.Option("--set", help="sf, ns or tc; sf where it closes in time, else ns.", show_default=False),
    ] = None,
    epsilon: Epsilon = "0",
    curve: Annotated[
        str | None, typer.Option(metavar="E,E,..", help="The range at these epsilons as well.", show_default=False)
    ] = None,
    coalition: Annotated[
        str | None,
        typer.Option(
            metavar="all|I,J,..",
            help="The range among the equilibria that are best for these followers together as well.",
            show_default=False,
        ),
    ] = None,
    slack: Annotated[str, typer.Option(help="How much less than that optimum the coalition puts up with.")] = "0",
    seconds: Annotated[float, typer.Option("--time", "--seconds", min=0.1, help="Time budget, seconds.")] = 60.0,
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="Memory budget of the linear programs, GiB.", show_default=False)
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="Search by direct or interior (tc, ns), sifting (tc) or plans (sf); needs --set."),
    ] = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="A budget of 4 seconds.")] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Proved interval of an objective over all equilibria of a game, with certificates."""
    tolerance = _epsilon(epsilon)
    points = [] if curve is None else [_epsilon(point, "--curve") for point in curve.split(",")]
    if equilibrium_set not in (None, "sf", "ns", "tc"):
        raise UsageError(f"--set: expected sf, ns or tc, got {equilibrium_set!r}")
    allowed = _epsilon(slack, "--slack")
    if method != "auto" and equilibrium_set is None:
        raise UsageError(f"--method: expected --set beside --method {method}, which not every set has")
    check_folder(out)
    from ..verify.formats import read_game
    from .answer import is_file

    the_game = read_game(game)
    players = _coalition(coalition, the_game.n_players)
    if objective is not None and not is_file(objective):
        the_game.objective(objective)  # an unknown objective is refused before any solver is loaded
    from .command_bounds import bound_objective

    answer = bound_objective(
        the_game,
        objective=objective,
        equilibrium_set=equilibrium_set,
        epsilon=tolerance,
        seconds=min(seconds, 4.0) if quick else seconds,
        memory=memory,
        method=method,
        curve=points,
        coalition=players,
        slack=allowed,
        out=out,
        progress=_say if sys.stderr.isatty() else None,
    )
    if answer.interrupted:
        _say("interrupted; this is what was proved by then")
    elif equilibrium_set is None and answer.document["set"] != "sf":
        _say("the strategic-form range did not close in the time budget; this is the non-signalling one")
    if as_json:
        _print_json(answer.document)
    else:
        from .render.text import bounds_text

        print(bounds_text(answer.document))
    if answer.interrupted:
        raise _Stopped


@app.command(rich_help_panel="Games and plays")
def replay(
    subject: Annotated[str, typer.Argument(metavar="LEADER|GAME", help="A leader file, zoo:NAME, or a game file.")],
    learner: Annotated[
        str | None,
        typer.Option(
            help="mw (default), optimistic, rm, rm+, exp3, ftpl, fp or ibr; q-learning where play goes on.",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000_000,
            help="Rounds of play; 1000, or the training horizon where play goes on.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100_000, help="Independent runs.")] = 20,
    rng_seed: Annotated[int, typer.Option(min=0, help="Seed of the runs.")] = 0,
    rate: Annotated[str | None, typer.Option(help="fixed, tuned or anytime.", show_default=False)] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="epsilon of the rule: weights grow by (1 + epsilon)^payoff; or alpha of Q-learning.",
            show_default=False,
        ),
    ] = None,
    types: Annotated[str, typer.Option(help="sampled or expected.")] = "sampled",
    opponents: Annotated[str, typer.Option(help="sampled or expected.")] = "sampled",
    payoff_scale: Annotated[
        float | None, typer.Option(help="Learners see payoffs divided by this.", show_default=False)
    ] = None,
    epsilon: Annotated[
        str | None, typer.Option(help="Gap to be reached; 0.05 of the payoff scale.", show_default=False)
    ] = None,
    probability: Annotated[
        float | None, typer.Option(help="Claim: the gap is reached with this chance.", show_default=False)
    ] = None,
    level: Annotated[float, typer.Option(help="Confidence of statistical statements.")] = 0.95,
    plays: Annotated[int, typer.Option(min=0, help="Runs whose plays are written to --out.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for plays and table.", show_default=False)
    ] = None,
    allow_import: AllowImport = None,
    as_json: Json = False,
) -> None:
    """Let learners play; measure regret, rate, cycling, and whether a gap is reached in time."""
    tolerance = None if epsilon is None else _epsilon(epsilon)
    _check_level(level)
    check_folder(out)
    from .command_replay import Question, exit_code, subject_of

    found = subject_of(subject, allow_import)
    question = Question(
        learner=learner or found.learner,
        rate=rate,
        learning_rate=learning_rate,
        rounds=rounds or found.rounds,
        seeds=seeds,
        rng_seed=rng_seed,
        types=types,
        opponents=opponents,
        payoff_scale=payoff_scale,
        epsilon=tolerance,
        probability=probability,
        level=level,
        plays=plays,
    )
    tell = _say if sys.stderr.isatty() else lambda message: None
    answer = found.replay(question, out=out, progress=tell)
    if as_json:
        _print_json(answer.document)
    else:
        from .render.replay_text import replay_text

        print(replay_text(answer.document))
    raise typer.Exit(exit_code(answer.document))


@app.command(rich_help_panel="Games and plays")
def recheck(
    certificate: Annotated[
        str,
        typer.Argument(help="A certificate (.cert.json), or a folder of them such as a report; - is standard input."),
    ],
    game: Annotated[str | None, typer.Argument(help="The game, where a certificate does not carry it.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="For big games: the same exact numbers, by numpy.")] = False,
    as_json: Json = False,
) -> None:
    """Prove certificates again with the exact kernel alone: no solver, no floating point, no numpy but for --fast."""
    _one_stdin(certificate, game)
    from ..verify.plain import number_text, read_json, read_plain_game

    checker = import_module("..verify.fast_kernel" if fast else "..verify.kernel", __package__)
    folder = Path(certificate) if Path(certificate).is_dir() else None
    files = [certificate] if folder is None else sorted(map(str, folder.rglob("*.cert.json")))
    if not files:
        raise UsageError("holds no certificate (*.cert.json)", path=certificate)
    the_game = None if game is None else read_plain_game(game)
    answers = []
    for file in files:
        try:
            answer = checker.check_certificate(read_json(file), the_game)
        except SpverifyError as error:
            raise error.at(file) from None
        answers.append(
            {
                "accepted": answer.accepted,
                "statement": answer.statement,
                "value_exact": number_text(answer.value),
                "value": _finite(answer.value),
                "reason": answer.reason,
            }
        )
    accepted = all(answer["accepted"] for answer in answers)
    if folder is None:
        document = {"command": "recheck", **answers[0]}
    else:
        named = [{"file": str(Path(f).relative_to(folder)), **answer} for f, answer in zip(files, answers, strict=True)]
        document = {"command": "recheck", "accepted": accepted, "certificates": named}
    if as_json:
        _print_json(document)
    else:
        from .render.text import recheck_text

        print(recheck_text(document))
    raise typer.Exit(0 if accepted else 1)


@app.command(rich_help_panel="Leaders")
def settings(as_json: Json = False) -> None:
    """What can be trained, and the best value known for each."""
    from .command_show import settings_document

    document = settings_document()
    if as_json:
        _print_json(document)
        return
    from .render.text import settings_text

    print(settings_text(document))


@app.command(rich_help_panel="Leaders")
def show(
    leader: Annotated[str, typer.Argument(metavar="LEADER.pt", help="A leader file, or zoo:NAME.")],
    allow_import: AllowImport = None,
    as_json: Json = False,
) -> None:
    """What a leader file contains: setting, policy, mechanism, training record and claims."""
    from .command_show import show_document

    document = show_document(leader, allow_import)
    if as_json:
        _print_json(document)
        return
    from .render.text import leader_text

    print(leader_text(document))


# ------------------------------------------------------------------------------------------ shared


def _epsilon(text: str, option: str = "--epsilon") -> Any:
    from ..verify.plain import parse_number

    try:
        value = parse_number(text, option)
    except SpverifyError as error:
        raise UsageError(str(error)) from None
    if value < 0:
        raise UsageError(f"{option}: expected a number that is not negative, got {text}")
    if _finite(value) is None:
        raise UsageError(f"{option}: expected a number that a double can hold, got {text}")
    return value


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"--level: expected a confidence level between 0 and 1, got {level:g}")


class _Stopped(Exception):
    """The user stopped the work, and what was known by then has been printed."""


def _parameters(items: Sequence[str], option: str = "--set-param") -> dict[str, str]:
    out: dict[str, str] = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise UsageError(f"{option}: expected NAME=VALUE, got {item!r}")
        if name in out:
            raise UsageError(f"{option}: {name} is given twice")
        out[name] = value
    return out


def _one_stdin(*paths: str | None) -> None:
    if paths.count("-") > 1:
        raise UsageError("only one file can come from standard input")


def _finite(value: Any) -> float | None:
    """The nearest double, or None where the number is beyond all doubles."""
    try:
        return float(value)
    except OverflowError:
        return None


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=1, allow_nan=False))  # ASCII: no encoding of standard output can break it


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _fail(kind: str, message: str, path: str | None, as_json: bool) -> None:
    if as_json:
        _print_json({"error": {"kind": kind, "message": message, "path": path}})
    _say(f"error: {' '.join(message.split())}")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; never raises for bad input."""
    as_json = "--json" in arguments
    try:
        result = typer.main.get_command(app).main(args=list(arguments), prog_name="spverify", standalone_mode=False)
        if result == EXIT_INTERRUPTED:  # typer turns an interruption into this exit code
            raise KeyboardInterrupt
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except _Stopped:
        return EXIT_INTERRUPTED
    except SpverifyError as error:
        _fail(error.kind, str(error), error.path, as_json)
        return EXIT_REFUSED
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
        else:
            _fail("usage", _usage_sentence(error), None, as_json)
        return EXIT_REFUSED
    except (KeyboardInterrupt, typer.Abort, typer.Exit) as stop:
        if isinstance(stop, typer.Exit) and stop.exit_code != EXIT_INTERRUPTED:
            return stop.exit_code
        _fail("interrupted", "interrupted; what was finished is written", None, as_json)
        return EXIT_INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            raise
        if isinstance(error, MemoryError):
            _fail("budget", "this needs more memory than there is; ask for less", None, as_json)
            return EXIT_REFUSED
        if isinstance(error, OSError):
            place = None if error.filename is None else os.fsdecode(error.filename)
            what = error.strerror or str(error)
            _fail("unreadable", f"{place or 'reading or writing failed'}: {what}", place, as_json)
            return EXIT_REFUSED
        what = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
        _fail("bug", f"spverify failed ({what}); this is a bug, `spverify --debug ...` shows where", None, as_json)
        return EXIT_BUG


def _usage_sentence(error: Any) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return error.format_message().strip().rstrip(".") + hint


class _Pipe(io.FileIO):
    """An output whose reader may leave, as in `spverify settings | head`: the work and its exit code go on.

    Any other failure, such as a full disk, is told once; Python would stumble over it again when it ends.
    """

    lost = False

    def write(self, data: Any) -> int:
        try:
            if not self.lost:
                return super().write(data) or 0
        except BrokenPipeError:
            pass
        except OSError:
            self.lost = True
            raise
        return memoryview(data).nbytes


def _patient(stream: Any) -> Any:
    """A standard stream that survives a reader who left, a caller who closed it, and a terminal that has no ε."""
    if stream is None:
        return io.StringIO()
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    pipe = io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(pipe, encoding=stream.encoding, errors="replace", line_buffering=stream.line_buffering)


def main() -> None:
    """Entry point of the `spverify` script."""
    sys.stdout, sys.stderr = _patient(sys.stdout), _patient(sys.stderr)
    sys.exit(run(sys.argv[1:]))
