"""A real Label Studio with an empty database, driven over its REST API."""

from __future__ import annotations

import io
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase

from . import installation
from .processes import ServerProcess, answers, free_port

Json = Any


class LabelStudioError(RuntimeError):
    """Label Studio refused a call; the message holds its answer."""


class _BearerAuth(AuthBase):
    """Access tokens made from a personal access token, which work whether legacy tokens are on or off."""

    # Access tokens live for 300 s.
    _RENEW_AFTER = 200.0

    def __init__(self, url: str, personal_access_token: str) -> None:
        self._url = url
        self._refresh = personal_access_token
        self._access = ""
        self._made_at = -self._RENEW_AFTER

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if time.monotonic() - self._made_at >= self._RENEW_AFTER:
            with _session() as session:
                answer = session.post(f"{self._url}/api/token/refresh/", json={"refresh": self._refresh}, timeout=30)
            answer.raise_for_status()
            self._access, self._made_at = answer.json()["access"], time.monotonic()
        request.headers["Authorization"] = f"Bearer {self._access}"
        return request


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy must not come between us and loopback
    return session


class LabelStudio:
    """Starts with one user, legacy tokens on, and leave to call an ML backend on loopback.

    Everything it writes, its log included, goes under ``data_dir``, an empty directory. ``settings`` are further ones of
    Label Studio's environment, such as a feature flag.
    """

    username = "admin@example.com"
    password = "correct horse battery staple"

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self._settings = settings or {}
        self.url = f"http://127.0.0.1:{free_port()}"
        self.legacy_token = secrets.token_hex(20)
        self.personal_access_token = ""
        self.server = ServerProcess("Label Studio", log=data_dir / "label-studio.log")
        self._http = _session()

    @property
    def service_settings(self) -> dict[str, str]:
        """Settings that most users give the service: where Label Studio is, and a legacy token."""
        return {"LABEL_STUDIO_URL": self.url, "LABEL_STUDIO_API_KEY": self.legacy_token}

    def __enter__(self) -> LabelStudio:
        shutil.copyfile(installation.migrated_database(), self.data_dir / "label_studio.sqlite3")
        self._start()
        self._http.headers["Authorization"] = f"Token {self.legacy_token}"
        self.personal_access_token = self.call("POST", "/api/token/")["token"]
        del self._http.headers["Authorization"]
        self._http.auth = _BearerAuth(self.url, self.personal_access_token)
        return self

    def _start(self) -> None:
        port = self.url.rpartition(":")[2]
        self.server.start(
            [str(installation.installed()), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", port]
            + ["--data-dir", str(self.data_dir), "--log-level", "WARNING"],
            env=self._environment(),
            cwd=self.data_dir,
            ready=lambda: answers(f"{self.url}/health"),
            timeout=180,
        )

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Away, and then back at the same address with the same database."""
        self.server.stop()
        yield
        self._start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()
        self._http.close()

    def _environment(self) -> dict[str, str]:
        return installation.base_environment() | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.data_dir),
            "LABEL_STUDIO_HOST": self.url,
            "LABEL_STUDIO_USERNAME": self.username,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.legacy_token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            # A backend on loopback needs both: the first for the calls to it, the second for its webhook.
            "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
            "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
            **self._settings,
        }

    def call(self, method: str, path: str, **request: Any) -> Json:
        """One REST call, its JSON answer. Raises LabelStudioError for a status of 400 and above."""
        answer = self._request(method, path, **request)
        return answer.json() if answer.content else None

    def _request(self, method: str, path: str, **request: Any) -> requests.Response:
        answer = self._http.request(method, self.url + path, **{"timeout": 150, **request})
        if not answer.ok:
            raise LabelStudioError(f"{method} {path} answered {answer.status_code}: {answer.text[:1500]}")
        return answer

    # Projects and tasks

    def create_project(self, config: str, *, title: str = "End to end") -> int:
        """A new project with this labeling config; gives its id."""
        return self.call("POST", "/api/projects", json={"title": title, "label_config": config})["id"]

    def change_config(self, project: int, config: str) -> None:
        """Settings > Labeling Interface > Save."""
        self.call("PATCH", f"/api/projects/{project}", json={"label_config": config})

    def upload(self, project: int, files: Sequence[Path]) -> dict[str, int]:
        """Upload files with names of letters, digits and ``.-_``, a task each; gives the task ids by file name."""
        content = [(file.name, (file.name, file.read_bytes(), "application/octet-stream")) for file in files]
        new = self._import(project, files=content)
        # Label Studio puts eight hex digits and a dash before the name.
        by_name = {Path(task["file_upload"]).name[9:]: task["id"] for task in new}
        return {file.name: by_name[file.name] for file in files}

    def import_tasks(self, project: int, data: Sequence[Mapping[str, Json]]) -> list[int]:
        """Import tasks as JSON; gives their ids in order."""
        return [task["id"] for task in self._import(project, json=list(data))]

    def _import(self, project: int, **request: Any) -> list[dict[str, Json]]:
        before = {task["id"] for task in self.tasks(project)}
        self.call("POST", f"/api/projects/{project}/import", **request)
        return [task for task in self.tasks(project) if task["id"] not in before]

    def tasks(self, project: int) -> list[dict[str, Json]]:
        """The project's tasks as the Data Manager lists them; asks nothing of a backend."""
        listed = self.call("GET", f"/api/tasks?project={project}&page_size=10000&fields=all")["tasks"]
        return sorted(listed, key=lambda task: task["id"])

    def open_task(self, task: int) -> dict[str, Json]:
        """What the labelling page asks for: the backend predicts first when the task has no predictions."""
        return self.call("GET", f"/api/tasks/{task}")

    def uploaded_file(self, task: int) -> Path:
        """The file behind an uploaded task in Label Studio's own media directory."""
        url = self.call("GET", f"/api/tasks/{task}?resolve_uri=false")["data"]["image"]
        return self.data_dir / "media" / url.removeprefix("/data/")

    # The ML backend

    def connect(self, project: int, url: str, *, basic_auth: tuple[str, str] | None = None) -> int:
        """Settings > Model > Connect Model; gives the backend's id, or raises what Label Studio says of it."""
        backend = {"project": project, "url": url, "title": "YOLO", "is_interactive": True}
        if basic_auth:
            user, password = basic_auth
            backend |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        return self.call("POST", "/api/ml", json=backend)["id"]

    def backends(self, project: int) -> list[dict[str, Json]]:
        """The project's backends with their state (CO connected, DI disconnected) and model version, asked anew."""
        return self.call("GET", f"/api/ml?project={project}")

    def retrieve_predictions(self, project: int, tasks: Sequence[int] | None = None) -> None:
        """Data Manager > Actions > Retrieve Predictions, for these tasks or, without any, for all of them."""
        selected = {"all": True, "excluded": []} if tasks is None else {"all": False, "included": list(tasks)}
        self.call(
            "POST",
            f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}",
            json={"selectedItems": selected},
            timeout=600,  # it saves the predictions of large selections one by one
        )

    def predictions(self, project: int) -> dict[int, list[dict[str, Json]]]:
        """The saved predictions per task; a task without one has an empty list."""
        by_task: dict[int, list[dict[str, Json]]] = {task["id"]: [] for task in self.tasks(project)}
        for prediction in self.call("GET", f"/api/predictions?project={project}"):
            by_task[prediction["task"]].append(prediction)
        return by_task

    def delete_predictions(self, project: int) -> None:
        """Data Manager > Actions > Delete Predictions, for all tasks."""
        self.call(
            "POST",
            f"/api/dm/actions?id=delete_tasks_predictions&project={project}",
            json={"selectedItems": {"all": True, "excluded": []}},
        )

    def count_predictions(self, project: int) -> int:
        """How many predictions the project holds."""
        return self.call("GET", f"/api/tasks?project={project}&page_size=1&fields=task_only&include=id")[
            "total_predictions"
        ]

    def create_view(self, project: int, conjunction: str, *filters: Mapping[str, Json]) -> int:
        """A tab of the Data Manager with these filters; gives its id."""
        data = {"title": "A view", "filters": {"conjunction": conjunction, "items": list(filters)}}
        return self.call("POST", "/api/dm/views", json={"project": project, "data": data})["id"]

    def predict_interactively(self, backend: int, task: int, drawn: Sequence[Mapping[str, Json]] = ()) -> Json:
        """What the editor asks after a region was drawn with a smart tool; gives the answer's ``data``."""
        body = {"task": task, "context": {"result": list(drawn)}}
        return self.call("POST", f"/api/ml/{backend}/interactive-annotating", json=body)["data"]

    # Annotations

    def accept(self, prediction: Mapping[str, Json]) -> int:
        """Make a prediction's regions an annotation of its task; gives the annotation's id."""
        annotation = {"result": prediction["result"], "parent_prediction": prediction["id"]}
        return self.call("POST", f"/api/tasks/{prediction['task']}/annotations/", json=annotation)["id"]

    def export_formats(self, project: int) -> set[str]:
        """The formats that Export offers for the project."""
        listed = self.call("GET", f"/api/projects/{project}/export/formats")
        return {one["name"] for one in listed if not one.get("disabled")}

    def export(self, project: int, format_: str, **options: str) -> dict[str, bytes]:
        """Export > Export: the files of the archive by their paths in it, or the one file."""
        query = urlencode({"exportType": format_, **options})
        answer = self._request("GET", f"/api/projects/{project}/export?{query}")
        if answer.headers["Content-Type"] != "application/zip":
            return {answer.headers["filename"]: answer.content}
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}

    # Credentials

    @contextmanager
    def legacy_tokens_disabled(self) -> Iterator[None]:
        """Legacy tokens off for the organization, as in a new installation."""
        self._set_legacy_tokens(False)
        try:
            yield
        finally:
            self._set_legacy_tokens(True)

    def _set_legacy_tokens(self, enabled: bool) -> None:
        self.call("POST", "/api/jwt/settings", json={"api_tokens_enabled": True, "legacy_api_tokens_enabled": enabled})
