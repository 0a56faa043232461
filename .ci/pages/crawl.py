"""Visits the pages below the given addresses in headless Chromium, and examines each with axe."""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request

MOST = 40
SCREENS = [(1280, "light"), (1280, "dark"), (390, "dark"), (320, "light")]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
EXAMINE = """
const done = arguments[arguments.length - 1];
axe.run(document, arguments[0]).then((found) => done(found.violations.map(
    (rule) => `${rule.id}: ${rule.help} (${rule.nodes.slice(0, 3).map((node) => node.target.join(" ")).join("; ")})`)));
"""
LINKS = """
return [...document.querySelectorAll("a[href]")].map((link) => link.href.split("#")[0]);
"""
STATE = "return [document.documentElement.scrollWidth, document.title, document.readyState]"


class Browser:
    def __init__(self):
        self.port = 9515
        self.driver = subprocess.Popen(
            ["chromedriver", f"--port={self.port}", "--silent"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.session = ""
        for _ in range(100):
            try:
                self.call("GET", "/status")
                break
            except OSError:
                time.sleep(0.1)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        wanted = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"},
                  "timeouts": {"script": 60000, "pageLoad": 60000}}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = "/session/" + made["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.load(answer)["value"]

    def command(self, path, body):
        return self.call("POST", self.session + path, body)

    def devtools(self, command, parameters):
        self.command("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def screen(self, width, scheme):
        self.devtools("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
        self.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def go(self, url):
        self.command("/url", {"url": url})

    def run(self, script, arguments=()):
        return self.command("/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, arguments):
        return self.command("/execute/async", {"script": script, "args": list(arguments)})

    def complaints(self):
        entries = self.command("/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if "404" not in entry["message"]]

    def close(self):
        self.driver.kill()


def shape(url):
    """The address without its numbers and its query's values: one page of each shape and of two queries is enough."""
    parts = urllib.parse.urlsplit(url)
    path = "/".join("N" if part.isdigit() else part for part in parts.path.split("/")[:4])
    names = sorted(name for name, _ in urllib.parse.parse_qsl(parts.query))
    return path if not names else f"{path}?{names[0]}"


def is_page(url, root):
    path = urllib.parse.urlsplit(url).path
    own = url == root or url.startswith((root + "/", root + "?"))
    return own and not path.endswith(("/body", "/live", "/next", "/raw")) and "download" not in url


def pages(browser, root):
    """The addresses that links lead to, the first of each shape."""
    found, shapes, queue = [], set(), [root]
    while queue and len(found) < MOST:
        url = queue.pop(0)
        if shape(url) in shapes:
            continue
        shapes.add(shape(url))
        browser.go(url)
        if not browser.run("return !!document.querySelector('main#content')"):
            continue
        found.append(url)
        queue.extend(link for link in browser.run(LINKS) if is_page(link, root))
    found.append(root + "/no-such-page")
    return found


def main():
    axe = open(sys.argv[1], encoding="utf-8").read()
    browser = Browser()
    failures = 0
    try:
        for root in sys.argv[2:]:
            found = pages(browser, root)
            for width, scheme in SCREENS:
                browser.screen(width, scheme)
                for url in found:
                    browser.go(url)
                    problems = browser.complaints()
                    shown, title, _ = browser.run(STATE)
                    if shown > width:
                        problems.append(f"is {shown} pixels wide")
                    browser.devtools("Runtime.evaluate", {"expression": axe})
                    problems += browser.run_async(EXAMINE, [RULES])
                    failures += len(problems)
                    for problem in problems:
                        print(f"{width} {scheme} {url} ({title}): {problem}", flush=True)
            print(f"{root}: {len(found)} pages, each on {len(SCREENS)} screens", flush=True)
    finally:
        browser.close()
    sys.exit(f"{failures} problems" if failures else 0)


main()
