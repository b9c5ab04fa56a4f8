// Load SMPL-X Fit: upload a file or a folder by button, or drop them onto the node. They go into ComfyUI's input folder.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const NODE = "ExpPortraitLoadSMPLXFit";
const PICTURES = /\.(png|jpe?g|webp|gif|mp4|mov|avi|mkv|obj|ply)$/i; // trackers put them beside their numbers

function say(severity, detail) {
    app.extensionManager?.toast?.add({ severity, summary: "ExpPortrait", detail, life: severity === "error" ? 8000 : 4000 });
}

async function upload(file, subfolder, overwrite) {
    const body = new FormData();
    body.append("image", file, file.name); // core's one upload route takes any file under this name
    body.append("subfolder", subfolder);
    body.append("type", "input");
    body.append("overwrite", overwrite ? "true" : "false");
    const answer = await api.fetchApi("/upload/image", { method: "POST", body });
    if (!answer.ok) throw new Error(`The server did not take ${file.name} (${answer.status}).`);
    const stored = await answer.json();
    return stored.subfolder ? `${stored.subfolder}/${stored.name}` : stored.name;
}

// items: [File, path inside of what was given]. A single file keeps its name, a folder its layout.
async function take(node, items) {
    items = items.filter(([file, path]) => !file.name.startsWith(".") && !PICTURES.test(path));
    if (!items.length) return say("error", "There is no file in it that may be a fit.");
    const widget = node.widgets.find((w) => w.name === "file");
    const inFolder = items.some(([, path]) => path.includes("/"));
    let chosen = null;
    try {
        for (const [index, [file, path]] of items.entries()) {
            const folder = path.split("/").slice(0, -1).join("/");
            const name = await upload(file, folder, inFolder);
            chosen ??= inFolder ? `${path.split("/")[0]}/` : name;
            if (items.length > 50 && index % 50 === 0) say("info", `${index} of ${items.length} files are uploaded.`);
        }
    } catch (error) {
        return say("error", error.message);
    }
    if (!widget.options.values.includes(chosen)) widget.options.values.push(chosen);
    widget.value = chosen;
    widget.callback?.(chosen);
    node.graph?.setDirtyCanvas(true, true);
}

async function walk(entry, prefix, found) {
    if (entry.isFile) {
        found.push([await new Promise((done, failed) => entry.file(done, failed)), prefix + entry.name]);
        return;
    }
    const reader = entry.createReader();
    for (;;) { // a reader gives a hundred entries at a time
        const entries = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!entries.length) return;
        for (const inner of entries) await walk(inner, `${prefix}${entry.name}/`, found);
    }
}

function pick(node, folder) {
    const input = document.createElement("input");
    input.type = "file";
    input.webkitdirectory = folder;
    input.onchange = () => take(node, [...input.files].map((file) => [file, file.webkitRelativePath || file.name]));
    input.click();
}

app.registerExtension({
    name: "ExpPortrait.FitUpload",
    nodeCreated(node) {
        if (node.comfyClass !== NODE) return;
        for (const [label, folder] of [["upload file", false], ["upload folder", true]]) {
            const button = node.addWidget("button", label, null, () => pick(node, folder), { serialize: false });
            button.serialize = false;
        }
        node.onDragOver = (event) => [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file");
        node.onDragDrop = async (event) => {
            // the entries must be asked for before anything is awaited
            const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
            const files = [...event.dataTransfer.files].map((file) => [file, file.name]);
            const found = [];
            for (const entry of entries) await walk(entry, "", found);
            await take(node, found.length ? found : files);
            return true;
        };
    },
});
