"""What an object tag shows: the same in the editor as here, for every form of ``value`` that it reads."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from yolo_backend.errors import AbsentMediaError
from yolo_backend.label_studio.labeling_config import parse_labeling_config
from yolo_backend.label_studio.task_data import source_values

from .browser import PATIENCE
from .label_studio import LabelStudio

DATA: dict[str, Any] = {
    "image": "/static/a.png",
    "photo": {"url": "/static/b.png", "sizes": [{"url": "/static/c.png"}, {"url": "/static/d.png"}]},
    "photo.url": "/static/dotted.png",
    "list": ["/static/e.png", "/static/f.png"],
    "{id}": "/static/braces.png",
    "file": "g h.png",
    "number": 7,
    "yes": True,
    "nothing": None,
}

# Label Studio saves no image without a value or valueList that is spelled so; of videos it doesn't ask that.
TAGS = (
    '<Image name="{name}" value="$image"/>',
    '<Image name="{name}" value="$list"> $image </Image>',
    '<Image name="{name}" value="$photo.url"/>',
    '<Image name="{name}" value="$photo.sizes[1].url"/>',
    '<Image name="{name}" value="$photo.sizes.0.url"/>',
    '<Image name="{name}" value="$photo[sizes][0][url]"/>',
    '<Image name="{name}" value="${{id}}"/>',
    '<Image name="{name}" value="$image."/>',
    '<Image name="{name}" value="/static/$file"/>',
    '<Image name="{name}" value="/data/local-files/?d=$file"/>',
    '<Image name="{name}" value="https://127.0.0.1:1/$photo.sizes[0].url?size=$number&amp;big=$yes"/>',
    '<Image name="{name}" value="/static/fixed.png"/>',
    '<Image name="{name}" value="/static/$list"/>',
    '<Image name="{name}" value="$list"/>',
    '<Image name="{name}" valueList="$list"/>',
    '<Image name="{name}" valueList="$image"/>',
    '<Image name="{name}" value="$image" valuelist="$list"/>',
    '<Image name="{name}" valueList="/static/$file"/>',
    '<Image name="{name}" value="$images"/>',
    '<Image name="{name}" value="/static/$images"/>',
    '<Image name="{name}" value="/static/$file.png"/>',
    '<Video name="{name}" value="$image"/>',
    '<Video name="{name}" Value="/static/$file"/>',
    '<Video name="{name}">$photo.sizes[0].url</Video>',
    '<Video name="{name}" value="$image" valueList="$list"/>',
)

_SHOWN = """names => Object.fromEntries(names.map(name => {
    const tag = Htx.annotationStore.selected.names.get(name);
    return [name, tag.type === "video" ? [false, [tag._value]] : [tag.isMultiItem, tag.imageEntities.map(one => one.src)]];
}))"""


def test_the_editor_shows_what_is_predicted(label_studio: LabelStudio, page: Page) -> None:
    names = [f"tag-{number}" for number in range(len(TAGS))]
    shown_tags = "".join(tag.format(name=name) for name, tag in zip(names, TAGS, strict=True))
    # Without a tag to label with there is no annotation.
    xml = f'<View>{shown_tags}<Choices name="kind" toName="{names[0]}"><Choice value="code"/></Choices></View>'
    # Label Studio imports no task that lacks a key.
    project = label_studio.create_project('<View><Image name="image" value="$image"/></View>')
    (task,) = label_studio.import_tasks(project, [DATA])
    label_studio.call("PATCH", f"/api/projects/{project}/", json={"label_config": xml})
    page.goto(f"{label_studio.url}/projects/{project}/data?task={task}")
    page.wait_for_function(
        f"() => window.Htx?.annotationStore?.selected?.names.get('{names[-1]}')?._value", timeout=PATIENCE
    )
    objects = parse_labeling_config(xml).objects
    assert list(objects) == names
    shown = page.evaluate(_SHOWN, names)
    for name, tag in zip(names, TAGS, strict=True):
        source, (has_pages, addresses) = objects[name].source, shown[name]
        assert has_pages == source.pages, tag
        try:
            values = source_values({"data": DATA}, source)
        except AbsentMediaError:
            # The editor shows nothing, or an address that is none.
            assert addresses == [""] or "undefined" in addresses[0], tag
            continue
        # Of several pictures in a value the editor shows the first, and the regions of all on it.
        assert values == (addresses if has_pages else addresses[:1]), tag
