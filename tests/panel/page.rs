//! The page in a real browser, before real work.

use serde_json::Value;

use crate::browser::Browser;
use crate::shop::{SOON, Shop, TOKEN, in_each_shop, run};
use crate::support::wait_until;

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

#[test]
fn the_page_shows_patterns_with_advice_and_orders_that_cross() {
    in_each_shop(&[], |shop| {
        let Some(mut browser) = open(&shop) else { return };
        let flavour = if shop.server.is_mysql() { "mysql" } else { "mariadb" };
        shop.cross();
        // Gets or creates twice at the same time, three times; then two wait for one row.
        for _ in 0..3 {
            let (mut holder, held) = shop.hold();
            run(&mut holder, "INSERT INTO batch (server_id) VALUES (70000009)");
            run(&mut holder, "ROLLBACK");
            assert_eq!(held.join().expect("no panic"), Some(0));
        }
        let (mut a, mut b) = (shop.client(), shop.client());
        run(&mut a, "BEGIN");
        run(&mut a, "UPDATE stock SET n = n - 1 WHERE id = 2");
        let waiting = std::thread::spawn(move || run(&mut b, "UPDATE stock SET n = n - 2 WHERE id = 2"));
        wait_until("it is held", SOON, || !shop.rows("holds").is_empty());
        run(&mut a, "COMMIT");
        waiting.join().expect("it goes on");

        let list = "[...document.querySelectorAll('#patterns .pattern')]";
        browser.wait("both patterns are listed, the frequent one first", &format!(
            "(() => {{ const all = {list}.map((button) => button.textContent);
              return all.length === 2 && all[0].includes('Gap, then insert') && all[0].includes('× 3') && all[0].includes('3 averted')
                && all[1].includes('stock.PRIMARY'); }})()"
        ));
        // The first one is chosen by itself; the other one by the keyboard.
        browser.wait(
            "its detail is shown",
            "document.getElementById('detail-title').textContent === 'Gap, then insert: batch.by_server'",
        );
        let detail = "document.getElementById('timeline').textContent";
        for words in ["lock the gap", "The newest: conflict", "What helps", "Conflicts3"] {
            browser.wait(words, &format!("{detail}.includes('{words}')"));
        }
        let share = browser.value("document.querySelector('.share').getAttribute('aria-label')");
        assert_eq!(share, "3 conflicts: 3 averted");
        browser.value(&format!("{list}[1].focus()"));
        browser.press("Enter");
        browser.wait(
            "the other one is shown",
            "document.getElementById('detail-title').textContent.includes('stock.PRIMARY')",
        );
        assert_eq!(
            browser.value(&format!("{list}.map((button) => button.ariaPressed).join()")),
            "false,true"
        );
        browser.wait(
            "with its statements",
            &format!("{detail}.includes('UPDATE stock SET n = n - ? WHERE id = ?')"),
        );
        browser.value("{ const order = document.getElementById('order'); order.value = 'newest'; order.dispatchEvent(new Event('change')); }");
        browser.wait("the newest comes first", &format!("{list}[0].textContent.includes('stock.PRIMARY')"));
        assert_eq!(
            browser.value(&format!("document.activeElement === {list}[0]")),
            true,
            "the focus has moved along"
        );

        // What never collided: closed at first, opened by the keyboard.
        browser.wait("the hazard is listed", "document.querySelectorAll('#hazards details').length === 1");
        let hazard = "document.querySelector('#hazards details')";
        let summary = browser.value(&format!("{hazard}.firstChild.textContent"));
        let summary = summary.as_str().expect("text");
        assert!(
            ["Opposite order", "orders", "stock"].iter().all(|words| summary.contains(words)),
            "{summary}"
        );
        assert_eq!(browser.value(&format!("{hazard}.open")), false);
        browser.value(&format!("{hazard}.firstChild.focus()"));
        browser.press("Enter");
        browser
            .wait("it opens", &format!("{hazard}.open && document.querySelector('.legs').checkVisibility()"));
        let legs = browser.value("[...document.querySelectorAll('.leg')].map((leg) => [...leg.querySelectorAll('code')].map((code) => code.textContent))");
        let (orders, stock) =
            ("UPDATE orders SET n = n + ? WHERE id = ?", "UPDATE stock SET n = n - ? WHERE id = ?");
        let (there, back) = (serde_json::json!([orders, stock]), serde_json::json!([stock, orders]));
        assert!(
            legs == Value::Array(vec![there.clone(), back.clone()])
                || legs == Value::Array(vec![back, there]),
            "{legs}"
        );
        let tile = browser.value("document.getElementById('effect').innerText");
        assert!(tile.as_str().expect("text").contains("Deadlock risks\n1\n"), "{tile}");

        let told = browser.accessible();
        let says = |role: &str, name: &str| told.iter().any(|(r, n)| r == role && n.contains(name));
        assert!(
            says("heading", "Deadlocks that may come")
                && says("image", "3 conflicts") | says("combobox", "Order"),
            "{told:?}"
        );
        for colours in ["light", "dark"] {
            browser.colours(colours);
            for (width, height, device) in [(1400, 1000, "desktop"), (390, 844, "phone")] {
                browser.resize(width, height);
                let fits = format!("document.documentElement.scrollWidth <= {width}");
                browser.wait("nothing reaches beyond the edge", &fits);
                browser.picture(&format!("{flavour}-{colours}-{device}"));
            }
            assert_eq!(
                browser.value(CONTRAST),
                Value::Array(Vec::new()),
                "text that is too faint, {colours}"
            );
        }
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
