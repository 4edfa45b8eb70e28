"""A small stand-in for the backend of Weights & Biases on 127.0.0.1: what `wandb sweep`, `wandb agent` and a run ask.

    with Backend() as backend:
        subprocess.run(["wandb", "sweep", "sweep.yaml"], env=os.environ | backend.environment(folder))
        subprocess.run(["wandb", "agent", backend.sweep.path], env=...)
    backend.runs  # by id: Run(sweep, config, summary, history, files, exit_code)

It proposes points in a fixed order, and stops a run if `stops(run)` says so, as hyperband does.
"""

import http.server
import json
import re
import threading
from dataclasses import dataclass, field

import yaml

ENTITY = "me"


@dataclass
class Run:
    """What the backend heard of a run. `exit_code` is None until the run ends."""

    project: str | None
    sweep: str | None
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    exit_code: int | None = None


@dataclass
class Sweep:
    """A sweep, and the points that it has proposed, by the id of their run."""

    name: str
    project: str
    config: dict
    proposed: dict = field(default_factory=dict)

    @property
    def path(self):
        return f"{ENTITY}/{self.project}/{self.name}"

    def next_point(self, number_of_trials):
        """Return the id of a run and its point, or None at the end; a list of values goes round, a range is divided."""
        number = len(self.proposed)
        if number >= number_of_trials:
            return None
        share = (number + 1) / (number_of_trials + 1)
        point = {name: value_at(about, number, share) for name, about in self.config["parameters"].items()}
        self.proposed[f"trial{number}"] = point
        return f"trial{number}", point


def value_at(about, number, share):
    if "values" in about:
        return about["values"][number % len(about["values"])]
    if "value" in about:
        return about["value"]
    if about["distribution"] == "log_uniform_values":
        return about["min"] * (about["max"] / about["min"]) ** share
    return about["min"] + share * (about["max"] - about["min"])


class Backend(http.server.ThreadingHTTPServer):
    """The server; `trials` is how many points a sweep proposes."""

    daemon_threads = True

    def __init__(self, trials=2, stops=lambda run: False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.trials, self.stops, self.lock = trials, stops, threading.Lock()
        self.sweep, self.runs, self.asked = None, {}, []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *exception):
        self.shutdown()
        super().__exit__(*exception)

    def handle_error(self, *_):
        """Say nothing: clients reset idle connections."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self, folder):
        """Return the variables with which wandb talks to this server only, and writes to `folder` only."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "0" * 40,
            "WANDB_ENTITY": ENTITY,
            "WANDB_MODE": "online",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_CONFIG_DIR": str(folder / "wandb-config"),
            "WANDB_CACHE_DIR": str(folder / "wandb-cache"),
            "WANDB_DATA_DIR": str(folder / "wandb-data"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def answer(self, name, given):
        """Return the data that a query or mutation gets; nothing for those that a client can do without."""
        project = {"id": "p", "name": given.get("projectName") or given.get("project"), "entity": {"name": ENTITY}}
        if name == "Viewer":
            user = {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}
            return {"viewer": user}
        if name == "UpsertSweep":
            self.sweep = Sweep("sweep1", project["name"], yaml.safe_load(given["config"]))
            return {"upsertSweep": {"sweep": {"name": "sweep1", "project": project}, "configValidationWarnings": []}}
        if name == "SweepWithRuns":
            sweep = {"id": "s", "name": "sweep1", "config": yaml.safe_dump(self.sweep.config), "runs": {"edges": []}}
            return {"project": {"sweep": sweep}}
        if name == "CreateAgent":
            return {"createAgent": {"agent": {"id": "a"}}}
        if name == "Heartbeat":
            commands = json.dumps(self.commands([*json.loads(given["runState"])]))
            return {"agentHeartbeat": {"agent": {"id": "a"}, "commands": commands}}
        if name == "UpsertBucket":
            return {"upsertBucket": self.upsert(given, project)}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/put/{given['run']}/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
        if name == "ArtifactType":
            return {"project": {"artifact": None}}
        if name == "CreateArtifact":  # known already, so that only the run's own copy of a table is uploaded
            known = {"id": "t", "versionIndex": 0}
            sequence = {"id": "q", "latestArtifact": known}
            return {"createArtifact": {"artifact": known | {"state": "COMMITTED", "artifactSequence": sequence}}}
        return {}

    def commands(self, running):
        """Return what an agent is to do: stop a run, start the next, or end."""
        if running:
            hopeless = [each for each in running if each in self.runs and self.stops(self.runs[each])]
            return [{"type": "stop", "run_id": each} for each in hopeless]
        if (point := self.sweep.next_point(self.trials)) is None:
            return [{"type": "exit"}]
        args = {name: {"value": value} for name, value in point[1].items()}
        return [{"type": "run", "run_id": point[0], "program": self.sweep.config.get("program"), "args": args}]

    def upsert(self, given, project):
        run = self.runs.setdefault(given["name"], Run(project["name"], given["sweep"]))
        config = json.loads(given["config"] or "{}")
        run.config |= {name: about["value"] for name, about in config.items()}
        bucket = {"id": given["name"], "name": given["name"], "displayName": given["name"], "historyLineCount": 0}
        return {"bucket": bucket | {"project": project, "sweepName": given["sweep"]}, "inserted": True}

    def stream(self, run, sent):
        """Take what a run streams: history, summary and, at its end, the exit code."""
        files = sent.get("files", {})
        run.history += map(json.loads, files.get("wandb-history.jsonl", {}).get("content", []))
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run.summary |= json.loads(line)
        run.exit_code = sent.get("exitcode", run.exit_code)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            answer = self.taken(body)
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST

    def taken(self, body):
        if self.path == "/graphql":
            sent = json.loads(body)
            name = re.search(r"(?:query|mutation)\s+(\w+)", sent["query"])[1]
            self.server.asked.append(name)
            return {"data": self.server.answer(name, sent.get("variables") or {})}
        if self.path.endswith("/file_stream"):
            self.server.stream(self.server.runs[self.path.split("/")[4]], json.loads(body))
        elif self.path.startswith("/put/"):
            _, _, run, file = self.path.split("/", 3)
            self.server.runs[run].files[file] = body
        return {}
