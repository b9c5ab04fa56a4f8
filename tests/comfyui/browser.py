"""A real browser in front of a real server: opens the page, drops a workflow in, presses Run, takes a picture."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip
LOADED = "window.app?.graph && window.app.extensionManager && window.app.canvas"
DROP = """text => {
    const data = new DataTransfer();
    data.items.add(new File([text], 'workflow.json', {type: 'application/json'}));
    const canvas = document.querySelector('#graph-canvas');
    for (const kind of ['dragenter', 'dragover', 'drop'])
        canvas.dispatchEvent(new DragEvent(kind, {
            bubbles: true, cancelable: true, dataTransfer: data, clientX: 800, clientY: 450}));
}"""
LISTEN = """() => {
    window.heard = [];
    for (const kind of ['executed', 'execution_success', 'execution_error', 'execution_interrupted', 'b_preview'])
        window.app.api.addEventListener(kind, e => window.heard.push([kind, kind === 'b_preview' ? null : e.detail]));
}"""
DONE = "window.heard.some(e => ['execution_success', 'execution_error', 'execution_interrupted'].includes(e[0]))"


def executable() -> str | None:
    """The browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def page_of(server, width: int = 1600, height: int = 900) -> Iterator:
    """The frontend of a running server, loaded, in a fresh profile that reaches nothing else."""
    from playwright.sync_api import sync_playwright

    # The Templates dialog would cover the page, and the map a corner of it
    server.post("/settings", {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        page = browser.new_context(viewport={"width": width, "height": height}).new_page()
        allowed = (server.url, "data:", "blob:")
        page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(allowed) else r.abort())
        page.goto(server.url, wait_until="domcontentloaded")
        page.wait_for_function(LOADED, timeout=120_000)
        page.wait_for_timeout(1500)
        page.evaluate(LISTEN)
        try:
            yield page
        finally:
            browser.close()


def drop(page, workflow: Path) -> None:
    """Drag the file onto the canvas, and wait until all its nodes are there."""
    text = workflow.read_text("utf-8")
    page.evaluate(DROP, text)
    wait_for_nodes(page, workflow)
    complaints = [toast.inner_text() for toast in page.locator(".p-toast-message-content").all()]
    assert not [text for text in complaints if "workflow" in text.lower()], complaints
    for button in page.locator(".p-toast-close-button").all():  # "this frontend is outdated": it covers the Run button
        button.click()


def wait_for_nodes(page, workflow: Path) -> None:
    """Until all nodes of the file stand on the canvas, and no others."""
    types = sorted(node["type"] for node in json.loads(workflow.read_text("utf-8"))["nodes"])
    shown = "types => window.app.graph._nodes.map(n => n.type).sort().join() === types.join()"
    page.wait_for_function(shown, arg=types, timeout=30_000)
    page.wait_for_timeout(500)


def set_widgets(page, values: dict[str, dict[str, object]]) -> None:
    """Change widgets, by node type and widget name."""
    page.evaluate(
        """values => {
            for (const node of window.app.graph._nodes)
                for (const widget of node.widgets ?? [])
                    if (widget.name in (values[node.type] ?? {})) widget.value = values[node.type][widget.name];
        }""",
        values,
    )


def press_run(page, seconds: float = 900) -> list:
    """Press Run and wait for the end. Returns what the server told the page, [kind, detail] each."""
    page.evaluate("window.heard.length = 0")
    button = page.locator("[data-testid='queue-button']").get_by_role("button")
    button.or_(page.locator("button[data-testid='queue-button']")).first.click()
    page.wait_for_function(DONE, timeout=seconds * 1000)
    page.wait_for_timeout(2500)  # the results still have to load
    return page.evaluate("window.heard")


def nodes_that_overlap(page) -> list[tuple[str, str]]:
    """Titles of each two nodes that cover one another; a node's box takes in its title."""
    boxes = page.evaluate("""() => window.app.graph._nodes.map(n => [n.title, n.pos[0], n.pos[0] + n.size[0],
        n.pos[1] - window.LiteGraph.NODE_TITLE_HEIGHT, n.pos[1] + n.size[1]])""")
    return [
        (one, other)
        for (one, *a), (other, *b) in itertools.combinations(boxes, 2)
        if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
    ]


def open_template(page, pack: str, workflow: Path) -> None:
    """Click through the Templates dialog: the pack in its list, then the card of the workflow."""
    page.get_by_role("button", name="Templates").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(pack, exact=True).first.click()
    dialog.get_by_text(workflow.stem.replace("_", " "), exact=True).first.click()
    dialog.wait_for(state="hidden")
    wait_for_nodes(page, workflow)


def fit_view(page) -> None:
    """Show the whole graph, beside the page's own bars and buttons."""
    page.evaluate("""() => {
        const boxes = window.app.graph._nodes.map(
            n => [n.pos[0], n.pos[1] - 50, n.pos[0] + n.size[0], n.pos[1] + n.size[1]]);
        const low = [0, 1].map(i => Math.min(...boxes.map(b => b[i])));
        const high = [2, 3].map(i => Math.max(...boxes.map(b => b[i])));
        const view = window.app.canvas.ds, canvas = window.app.canvas.canvas.getBoundingClientRect();
        const left = 75 - canvas.left, top = 130 - canvas.top, right = canvas.width - 20, bottom = canvas.height - 15;
        view.scale = Math.min((right - left) / (high[0] - low[0]), (bottom - top) / (high[1] - low[1]));
        view.offset[0] = left / view.scale - low[0];
        view.offset[1] = top / view.scale - low[1];
        window.app.canvas.setDirty(true, true);
    }""")
    page.wait_for_timeout(800)
