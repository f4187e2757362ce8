//! The page in a real browser, before real work.

use serde_json::Value;

use crate::browser::Browser;
use crate::shop::{Shop, TOKEN, in_each_shop, run};

/// The graph library keeps the graph at its frame.
const GRAPH: &str = "document.getElementById('graph')._cyreg.cy";

fn open(shop: &Shop) -> Option<Browser> {
    let mut browser = Browser::start(1400, 1000)?;
    browser.open(&format!("http://127.0.0.1:{}/", shop.interlock.admin_port));
    browser.wait("the page is live", "document.getElementById('link')?.textContent === 'live'");
    Some(browser)
}

/// What the timeline shows, from top to bottom: the side and its statement.
fn timeline(browser: &mut Browser) -> Vec<(String, String)> {
    let steps = browser.value(
        "[...document.querySelectorAll('#timeline .step')]
            .map((step) => [step.parentElement.classList.contains('left') ? 'left' : 'right', step.firstChild.textContent])",
    );
    serde_json::from_value(steps).expect("pairs")
}

#[test]
fn the_page_shows_a_hold_while_it_lasts_and_survives_a_restart() {
    in_each_shop(&[], |mut shop| {
        let Some(mut browser) = open(&shop) else { return };
        let held_nodes = format!("{GRAPH}.nodes('.held').length");
        assert_eq!(browser.value(&held_nodes), 0);
        browser.value("window.loaded = 'once'");

        let (mut holder, held) = shop.hold();
        browser.wait("the graph shows the hold", &format!("{held_nodes} === 1"));
        let edges = browser.value(&format!("{GRAPH}.edges('.wait').map((edge) => edge.data('label'))"));
        assert_eq!(edges, serde_json::json!(["held behind"]));
        let labels =
            browser.value(&format!("{GRAPH}.nodes('.lock').map((node) => node.data('label')).join()"));
        assert!(labels.as_str().expect("text").contains("batch.by_server"), "{labels}");
        // Every node has its place inside the frame.
        browser.wait(
            "the graph is laid out",
            &format!(
                "(() => {{ const all = {GRAPH}.elements().renderedBoundingBox(), frame = document.getElementById('graph');
                return all.w > 50 && all.x1 >= -1 && all.y1 >= -1 && all.x2 <= frame.clientWidth + 1 && all.y2 <= frame.clientHeight + 1; }})()"
            ),
        );
        let listed = browser.value("document.getElementById('transactions').textContent");
        assert!(listed.as_str().expect("text").contains("held"), "the same as a table: {listed}");

        let lookup = "SELECT * FROM batch WHERE server_id = ? FOR UPDATE";
        let expected = [("left", "BEGIN"), ("left", lookup), ("right", "BEGIN"), ("right", lookup)];
        browser.wait("the timeline is shown", "document.querySelectorAll('#timeline .step').length === 4");
        let shown = timeline(&mut browser);
        let shown: Vec<(&str, &str)> = shown.iter().map(|(side, text)| (&**side, &**text)).collect();
        assert_eq!(shown, expected);
        let took =
            "[...document.querySelectorAll('#timeline .left .locks')].map((lock) => lock.textContent).join()";
        let took = browser.value(took);
        assert!(
            took.as_str().is_some_and(|text| text.contains("took X") && text.contains("batch")),
            "{took}"
        );

        release(&mut browser);
        assert_eq!(held.join().expect("no panic"), Some(0), "it went on");
        browser.wait("the graph shows no hold", &format!("{held_nodes} === 0"));
        browser.wait("nor does the list", "document.querySelectorAll('#holds li').length === 0");
        run(&mut holder, "ROLLBACK");
        drop(holder);
        browser.wait("the graph is empty", "!document.getElementById('graph-empty').hidden");

        shop.interlock.restart();
        // It has noticed, and has not been loaded anew.
        browser.wait("the page is live again", "document.getElementById('link').textContent === 'live' && document.getElementById('patterns').childElementCount === 0");
        let (mut holder, held) = shop.hold();
        browser.wait("the graph shows the next hold", &format!("{held_nodes} === 1"));
        run(&mut holder, "COMMIT");
        assert_eq!(held.join().expect("no panic"), Some(0));
        browser.wait("the conflict was averted", "document.querySelector('#patterns .chip.good') !== null");
        assert_eq!(browser.value("window.loaded"), "once");
        assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
    });
}

/// Releases the one hold by the keyboard alone: a wrong token first, then the right one.
fn release(browser: &mut Browser) {
    browser.value("document.querySelector('#holds button').focus()");
    browser.press("Enter");
    browser.wait("it asks for the token", "document.getElementById('ask').open");
    browser.wait("the focus is there", "document.activeElement.id === 'token'");
    browser.type_text("a wrong token");
    browser.press("Enter");
    browser.wait("it is refused", "document.getElementById('ask').open && document.getElementById('ask-error').textContent.includes('token')");
    browser.type_text(TOKEN);
    browser.press("Enter");
    browser.wait("it is accepted", "!document.getElementById('ask').open");
}

#[test]
fn the_page_fits_a_phone_both_colours_and_a_screen_reader() {
    in_each_shop(&[], |shop| {
        let Some(mut browser) = open(&shop) else { return };
        let (mut holder, held) = shop.hold();
        browser.wait("the hold is listed", "document.querySelectorAll('#holds li').length === 1");
        browser.wait("the timeline is shown", "document.querySelectorAll('#timeline .step').length === 4");

        let nameless: Vec<(String, String)> = browser
            .accessible()
            .into_iter()
            .filter(|(role, name)| {
                let named = [
                    "button",
                    "link",
                    "textbox",
                    "progressbar",
                    "image",
                    "img",
                    "table",
                    "heading",
                    "region",
                ];
                named.contains(&role.as_str()) && name.is_empty()
            })
            .collect();
        assert!(nameless.is_empty(), "{nameless:?}");

        // Light on dark and dark on light: text and ground change places.
        let ground = |browser: &mut Browser| browser.value("getComputedStyle(document.body).backgroundColor");
        browser.colours("light");
        let light = ground(&mut browser);
        browser.colours("dark");
        assert_ne!(ground(&mut browser), light);
        let faint = browser.value(CONTRAST);
        assert_eq!(faint, Value::Array(Vec::new()), "text that is too faint, dark");
        browser.colours("light");
        assert_eq!(browser.value(CONTRAST), Value::Array(Vec::new()), "text that is too faint, light");

        browser.resize(390, 844);
        browser.wait("it is as wide as the phone", "document.documentElement.scrollWidth <= 390");
        run(&mut holder, "COMMIT");
        assert_eq!(held.join().expect("no panic"), Some(0));
        assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
    });
}

/// Texts whose contrast to their ground is below 4.5 to 1 (WCAG 2.1, 1.4.3).
const CONTRAST: &str = "(() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
        .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter((node) =>
        node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
    return texts.map((node) => {
        const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.textContent.trim().slice(0, 30)];
    }).filter(([contrast]) => contrast < 4.5);
})()";
