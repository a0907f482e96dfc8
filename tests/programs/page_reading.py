"""Reads a page as a browser and a stranger would; shared by tests of pages."""

import html.parser
import os
import re
import subprocess

VOID = {"meta", "br", "img", "link", "input"}


class Page(html.parser.HTMLParser):
    """Balanced tags, the text of each kind of element, and no way out of the page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.text, self.ids, self.links = [], {}, [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open
        assert len(set(self.ids)) == len(self.ids) and set(self.links) <= set(self.ids), (self.ids, self.links)

    def handle_starttag(self, tag, attributes):
        assert tag != "script" and not any(
            name.startswith("on") or name == "src" or (name == "href" and not value.startswith("#"))
            for name, value in attributes
        ), (tag, attributes)
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value[1:] for name, value in attributes if name == "href"]
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes {self.open[-3:]}"

    def handle_data(self, data):
        self.text.append(data)

    def says(self, text):
        return text in "".join(self.text)


def fits(file, work, width):
    """Whether nothing is wider than a window of this width, as the browser lays it out.

    In a frame, because a window has a least width."""
    with open(file) as page:
        text = re.sub(r"<meta http-equiv[^>]*>", "", page.read())
    with open(os.path.join(work, "framed.html"), "w") as framed:
        framed.write(
            text.replace(
                "</body>", "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script></body>"
            )
        )
    with open(os.path.join(work, "frame.html"), "w") as frame:
        frame.write(
            "<body><script>onmessage=e=>document.body.dataset.width=e.data</script>"
            f"<iframe src='framed.html' style='width:{width}px;height:900px;border:0'></iframe></body>"
        )
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=5000",
            f"--user-data-dir={work}/chromium",
            "--dump-dom",
            f"file://{work}/frame.html",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = re.search(r'data-width="(\d+)"', done.stdout)
    assert found, done.stderr
    return int(found[1]) <= width
