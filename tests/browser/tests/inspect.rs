//! The page of `windowkv inspect`, clicked through in Chromium.

use fantoccini::key::Key;
use serde_json::{Value, json};
use windowkv_browser_tests::Browser;
use windowkv_browser_tests::pages::Page;

/// Classes of the text's units, as the page shades them.
const CLASSES: &str = "[...document.querySelectorAll('#text .unit')].map((unit) => unit.className)";

/// Which units of the text are shaded as kept.
async fn shaded(browser: &Browser) -> Vec<usize> {
    let classes = browser.eval(CLASSES).await;
    let classes = classes.as_array().expect("a list").iter();
    let kept = |class: &Value| class.as_str().expect("text").contains("kept-");
    classes
        .enumerate()
        .filter_map(|(unit, class)| kept(class).then_some(unit))
        .collect()
}

/// The units of a list of runs.
fn units(spans: &Value) -> Vec<usize> {
    let spans = spans.as_array().expect("a list").iter();
    let end = |span: &Value, side: usize| span[side].as_u64().expect("an index") as usize;
    spans.flat_map(|span| end(span, 0)..end(span, 1)).collect()
}

/// Rank from 1 by score, ties to the lower index: counted, not sorted as the page does.
fn rank(scores: &Value, unit: usize) -> usize {
    let scores: Vec<f64> = scores
        .as_array()
        .expect("scores")
        .iter()
        .map(|score| score.as_f64().expect("a score"))
        .collect();
    let better =
        |&(at, &score): &(usize, &f64)| score > scores[unit] || score == scores[unit] && at < unit;
    1 + scores.iter().enumerate().filter(better).count()
}

/// Asserts that a tip tells the score, to three digits, and the rank.
#[track_caller]
fn assert_scored(tip: &str, scores: &Value, unit: usize) {
    let line = tip
        .lines()
        .find(|line| line.starts_with("score "))
        .expect(tip);
    let told: f64 = line["score ".len()..]
        .split(',')
        .next()
        .unwrap()
        .parse()
        .expect(tip);
    let score = scores[unit].as_f64().expect("a score");
    assert!(
        (told - score).abs() <= 0.005 * score.abs() + 1e-12,
        "{tip}, not {score}"
    );
    let count = scores.as_array().expect("scores").len();
    let place = format!("rank {} of {}", grouped(rank(scores, unit)), grouped(count));
    assert!(line.contains(&place), "{tip}: no {place:?}");
}

fn grouped(number: usize) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", number / 1000, number % 1000)
    }
}

async fn pick(browser: &Browser, box_id: &str, index: usize) {
    browser
        .click(&format!("#{box_id} label:nth-child({})", index + 1))
        .await;
}

#[tokio::test]
async fn the_text_is_shaded_as_the_data_says() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let page = Page::demo();
    browser.look(1280, 900, false, false).await;
    browser.open(&page.path).await;
    assert_eq!(
        browser.eval("document.title").await,
        json!("What is kept of a prompt of the demo")
    );

    // WindowKV: every group, then a layer's own choice.
    let windowkv = &page.json["methods"][page.method("windowkv")];
    for (index, group) in windowkv["groups"].as_array().unwrap().iter().enumerate() {
        pick(&browser, "groups", index).await;
        let layer = &windowkv["layers"][group["first_layer"].as_u64().unwrap() as usize];
        let kept = units(&layer["kept"][0]);
        assert!(!kept.is_empty());
        assert_eq!(shaded(&browser).await, kept, "group {index}");
        let tokens = layer["kept_tokens"].as_u64().unwrap();
        let figures = browser.text("#figures").await;
        assert!(figures.contains(&format!("{tokens} of 2,048")), "{figures}");
    }
    browser.click("#own").await;
    browser.click("#layer").await;
    for _ in 0..8 {
        browser.press(Key::Left).await;
    }
    browser.press(Key::Right).await;
    assert_eq!(browser.text("#layer-name").await, "1");
    let own = units(&windowkv["layers"][1]["own"]);
    assert_ne!(own, units(&windowkv["layers"][1]["kept"][0]));
    assert_eq!(shaded(&browser).await, own, "layer 1 alone");
    browser.click("#own").await;
    assert_eq!(browser.text("#layer-name").await, "1, led by layer 0");

    // The others: what any head keeps, but for what always stays.
    for name in ["fullkv", "streamingllm", "h2o", "snapkv", "pyramidkv"] {
        let method = page.method(name);
        pick(&browser, "methods", method).await;
        let method = &page.json["methods"][method];
        let always = 2048 - method["always_kept"].as_u64().unwrap() as usize;
        let heads = method["layers"][1]["kept"].as_array().unwrap();
        let mut kept: Vec<usize> = heads
            .iter()
            .flat_map(units)
            .filter(|&token| token < always)
            .collect();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(shaded(&browser).await, kept, "{name}");
    }
    browser.assert_quiet().await;
    browser.end().await;
}

#[tokio::test]
async fn pointer_and_keys_tell_scores_and_ranks() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let page = Page::demo();
    browser.look(1280, 900, false, false).await;
    browser.open(&page.path).await;
    let windowkv = &page.json["methods"][page.method("windowkv")];

    // Pointer on the text: a kept window, a dropped one, the suffix.
    let scores = &windowkv["layers"][0]["scores"];
    let kept = units(&windowkv["layers"][0]["kept"][0]);
    let dropped = (0..).find(|unit| !kept.contains(unit)).unwrap();
    for (unit, word) in [(kept[0], ": kept"), (dropped, ": dropped")] {
        browser
            .hover(&format!("#text [data-unit='{unit}']"), 0.5, 0.5)
            .await;
        let tip = browser.text("#tip").await;
        assert!(
            tip.starts_with(&format!(
                "window {unit}, tokens {}–{}",
                8 * unit,
                8 * unit + 7
            )),
            "{tip}"
        );
        assert!(tip.contains(word), "{tip}");
        assert_scored(&tip, scores, unit);
    }
    browser.hover("#text .always", 0.5, 0.5).await;
    assert!(
        browser
            .text("#tip")
            .await
            .starts_with("suffix, tokens 2,032–2,047: always kept")
    );

    // Keys on the text.
    browser
        .eval("document.getElementById('text').focus()")
        .await;
    for key in [Key::Home, Key::Right, Key::Right] {
        browser.press(key).await;
    }
    let tip = browser.text("#tip").await;
    assert!(tip.starts_with("window 2,"), "{tip}");
    assert_scored(&tip, scores, 2);
    assert_eq!(
        browser
            .eval("document.querySelector('.current').dataset.unit")
            .await,
        json!("2")
    );
    browser.press(Key::Escape).await;
    assert_eq!(
        browser.eval("document.getElementById('tip').hidden").await,
        json!(true)
    );

    // The curve and the map: the pointer, then keys through windows and layers.
    browser.hover("#curve", 0.5, 0.5).await;
    let tip = browser.text("#tip").await;
    let unit: usize = tip["window ".len()..]
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (120..136).contains(&unit),
        "the middle of 256 windows: {tip}"
    );
    assert_scored(&tip, scores, unit);
    browser.eval("document.getElementById('map').focus()").await;
    browser.press(Key::Right).await;
    browser.press(Key::Down).await;
    browser.press(Key::Down).await;
    assert_eq!(browser.text("#layer-name").await, "2, leads its group");
    assert_scored(
        &browser.text("#tip").await,
        &windowkv["layers"][2]["scores"],
        unit + 1,
    );

    // Every control is reached and worked with the keyboard alone.
    browser
        .eval("document.querySelector('#methods input:checked').focus()")
        .await;
    for _ in 0..page.method("snapkv") {
        browser.press(Key::Right).await;
    }
    assert_eq!(browser.text("#methods label:has(:checked)").await, "SnapKV");
    browser.press(Key::Tab).await;
    assert_eq!(
        browser.eval("document.activeElement.id").await,
        json!("layer")
    );
    browser.press(Key::Right).await;
    assert_eq!(browser.text("#layer-name").await, "3");
    let snapkv = &page.json["methods"][page.method("snapkv")]["layers"][3];
    let heads: Vec<Vec<usize>> = snapkv["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(units)
        .collect();
    let by_one = *heads[1]
        .iter()
        .find(|token| !heads[0].contains(token))
        .unwrap();
    let by_none = (0..)
        .find(|token| heads.iter().all(|head| !head.contains(token)))
        .unwrap();
    for (token, told) in [
        (by_one, "kept by 1 of 2 heads (1)"),
        (by_none, "dropped by every head"),
    ] {
        browser
            .hover(&format!("#text [data-unit='{token}']"), 0.6, 0.5)
            .await;
        let tip = browser.text("#tip").await;
        assert!(
            tip.starts_with(&format!("token {}: {told}\n", grouped(token))),
            "{tip}"
        );
        assert_scored(&tip, &snapkv["scores"], token);
    }
    browser.assert_quiet().await;
    browser.end().await;
}

#[tokio::test]
async fn similarity_and_budgets_are_shown() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let page = Page::demo();
    browser.look(1280, 900, false, false).await;
    browser.open(&page.path).await;
    let windowkv = &page.json["methods"][page.method("windowkv")];
    // The demo's question is a localization, and the page says so beside what follows from it.
    assert_eq!(page.json["task"], "localization");
    assert!(
        browser
            .text("#figures")
            .await
            .contains("tasklocalizationwindow, suffix")
    );
    for (index, similarity) in windowkv["similarity"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        pick(&browser, "budgets", index).await;
        let means = browser.text("#means").await;
        let mean = |name: &str| format!("{:.2}", similarity[name].as_f64().unwrap());
        let expected = format!(
            "mean inside groups{}mean across groups{}",
            mean("mean_inside"),
            mean("mean_across")
        );
        assert_eq!(means, expected);
        // Row 1, column 5 of 8: where the page says that this cell is.
        let place = browser
            .eval("(() => { const box = heatCanvas.getBoundingClientRect(); const at = (i) => (i + 0.5) * heatLayout.cell; \
                   return [(heatLayout.left + at(5)) / box.width, (heatLayout.top + at(1)) / box.height]; })()")
            .await;
        browser
            .hover(
                "#heat",
                place[0].as_f64().unwrap(),
                place[1].as_f64().unwrap(),
            )
            .await;
        let value = similarity["matrix"][1][5].as_f64().unwrap();
        assert_eq!(
            browser.text("#tip").await,
            format!("layers 1 and 5: {value:.3}")
        );
    }
    browser.eval("heatCanvas.focus()").await;
    browser.press(Key::Down).await;
    assert!(browser.text("#tip").await.starts_with("layers 2 and 5: "));

    // The pyramid: one row a group, narrower from each to the next, and it picks the group.
    let rows = browser
        .eval("[...document.querySelectorAll('#pyramid li')].map((row) => [row.textContent, row.querySelector('.bar').offsetWidth])")
        .await;
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for (row, group) in rows.iter().zip(windowkv["groups"].as_array().unwrap()) {
        let layer = group["first_layer"].as_u64().unwrap();
        let tokens = windowkv["layers"][layer as usize]["kept_tokens"]
            .as_u64()
            .unwrap();
        assert_eq!(
            row[0],
            json!(format!("layers {layer}–{}{tokens} tokens", layer + 1))
        );
    }
    assert!(
        rows.windows(2)
            .all(|pair| pair[0][1].as_u64() > pair[1][1].as_u64()),
        "{rows:?}"
    );
    browser.click("#pyramid li:nth-child(3) button").await;
    assert_eq!(
        browser.text("#groups label:has(:checked)").await,
        "layers 4–5"
    );
    browser.assert_quiet().await;
    browser.end().await;
}

/// Contrasts of all text that is shown, by the formula of WCAG 2: the least, and where.
const LEAST_CONTRAST: &str = r"(() => {
    const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = (css) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = css;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, bottom) => top.slice(0, 3).map((value, at) => value * top[3] + bottom[at] * (1 - top[3]));
    const background = (node) => {
        if (!node) return [255, 255, 255];
        const own = rgba(getComputedStyle(node).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, background(node.parentElement));
    };
    const luminance = (colour) => {
        const [r, g, b] = colour.map((value) => value / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let least = [99, ''];
    const seen = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (walker.currentNode.data.trim() === '' || node.getClientRects().length === 0) continue;
        const style = getComputedStyle(node);
        const under = background(node);
        const key = `${style.color} ${under}`;
        if (seen.has(key)) continue;
        seen.add(key);
        const [a, b] = [luminance(rgba(style.color).slice(0, 3)), luminance(under)].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < least[0]) least = [contrast, `${node.tagName}.${node.className} ${key}`];
    }
    return least;
})()";

#[tokio::test]
async fn it_is_readable_on_a_phone_and_in_the_dark() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let page = Page::demo();
    for (look, width, height, phone) in [("desktop", 1280, 1760, false), ("phone", 390, 844, true)]
    {
        for dark in [false, true] {
            let name = format!("{look}-{}", if dark { "dark" } else { "light" });
            browser.look(width, height, phone, dark).await;
            browser.open(&page.path).await;
            let background = browser
                .eval("getComputedStyle(document.body).backgroundColor")
                .await;
            assert_eq!(
                background != json!("rgb(246, 245, 242)"),
                dark,
                "{name}: {background}"
            );
            for method in ["windowkv", "h2o"] {
                pick(&browser, "methods", page.method(method)).await;
                browser.eval("window.scrollTo(0, 0)").await;
                browser.hover("#text .kept-3", 0.3, 0.5).await;
                let least = browser.eval(LEAST_CONTRAST).await;
                assert!(
                    least[0].as_f64().unwrap() >= 4.5,
                    "{name}, {method}: {least}"
                );
                // Not the window's own width: a phone's window grows with what does not fit it.
                let content = browser.eval("document.documentElement.scrollWidth").await;
                assert!(
                    content.as_u64().unwrap() <= u64::from(width),
                    "{name}, {method}: {content} pixels wide"
                );
                if phone {
                    let small = browser
                        .eval("[...document.querySelectorAll('.choice label, #pyramid button, .check, #layer')] \
                               .filter((each) => each.getClientRects().length && each.getBoundingClientRect().height < 24) \
                               .map((each) => each.textContent)")
                        .await;
                    assert_eq!(small, json!([]), "{name}, {method}: too small for a finger");
                }
                browser.hover("h1", 0.0, 0.0).await;
                browser
                    .eval("(document.getElementById('text').scrollTop = 0, window.scrollTo(0, 0))")
                    .await;
                browser.screenshot(&format!("{name}-{method}")).await;
                for part in ["reader", "similarity"] {
                    let selector = format!("document.getElementById('{part}').scrollIntoView()");
                    browser.eval(&selector).await;
                    if phone {
                        browser.screenshot(&format!("{name}-{method}-{part}")).await;
                    }
                }
            }
        }
    }
    // The picture of the README.
    browser.look(1280, 1500, false, false).await;
    browser.open(&page.path).await;
    browser.hover("#text .kept-2", 0.3, 0.5).await;
    assert_eq!(browser.eval("window.scrollY").await, json!(0));
    browser.screenshot("readme").await;
    browser.assert_quiet().await;
    browser.end().await;
}

#[tokio::test]
async fn any_text_is_shown_and_none_is_run() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let text = "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">\n\
                <!-- \0\u{1}\u{1b}[31m\r\u{7f}\u{85} \u{202e}turned\u{2066} \u{2028}\u{feff} {{ data }} /* data */ \
                Die Größe 中文字符，世界 🦀👩‍👩‍👧🇩🇪 \u{fffd}\u{ffff} &amp;&lt; \\u003c \"quoted\" 'too'\n\tend";
    let page = Page::bytes(&text.repeat(3), 2, 1, 0.25);
    browser.look(1280, 900, false, false).await;
    browser.open(&page.path).await;
    assert_eq!(
        browser.eval("document.title").await,
        json!("What is kept of a </title> of <b>tests</b>")
    );
    let expected = text
        .replace('\0', "⟨U+0000⟩")
        .replace('\u{1}', "⟨U+0001⟩")
        .replace('\u{1b}', "⟨U+001B⟩")
        .replace('\r', "↵")
        .replace('\u{7f}', "⟨U+007F⟩")
        .replace('\u{85}', "⟨U+0085⟩")
        .replace('\u{202e}', "⟨U+202E⟩")
        .replace('\u{2066}', "⟨U+2066⟩")
        .replace('\u{2028}', "⟨U+2028⟩");
    for method in ["windowkv", "snapkv"] {
        pick(&browser, "methods", page.method(method)).await;
        assert_eq!(browser.text("#text").await, expected.repeat(3), "{method}");
    }
    assert_eq!(
        browser
            .eval("document.querySelectorAll('script, img, b').length")
            .await,
        json!(2)
    );
    browser.screenshot("any-text").await;
    browser.assert_quiet().await;
    browser.end().await;
}

#[tokio::test]
async fn the_shortest_prompts_have_a_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser.look(1280, 900, false, false).await;
    for text in ["a", "ab", "0123456789abcdef", "0123456789abcdefg"] {
        let page = Page::bytes(text, 2, 1, 1.0);
        browser.open(&page.path).await;
        for method in 0..page.json["methods"].as_array().unwrap().len() {
            pick(&browser, "methods", method).await;
            assert_eq!(browser.text("#text").await, text);
            browser.hover("#text .unit", 0.5, 0.5).await;
            assert!(!browser.text("#tip").await.is_empty());
        }
    }
    browser.screenshot("one-token").await;
    browser.assert_quiet().await;
    browser.end().await;
}

#[tokio::test]
async fn a_long_prompt_opens_quickly() {
    /// Far beyond what was measured (0.3 s), for machines that are busy with something else.
    const PATIENCE_MS: f64 = 10_000.0;
    let Some(browser) = Browser::start().await else {
        return;
    };
    let text: String = (0..8192)
        .map(|at| ["a", "bc ", "d", "e\n"][at % 4])
        .collect::<String>()[..8192]
        .to_owned();
    let page = Page::bytes(&text, 32, 8, 0.25);
    let bytes = std::fs::metadata(&page.path).unwrap().len();
    browser.look(1280, 1760, false, false).await;
    browser.open(&page.path).await;
    let opened = browser
        .eval("performance.getEntriesByType('navigation')[0].domComplete")
        .await;
    let opened = opened.as_f64().unwrap();
    let mut slowest: f64 = 0.0;
    for method in 0..6 {
        let script = format!(
            "(() => {{ const start = performance.now(); document.querySelectorAll('#methods input')[{method}].click(); \
             document.body.getBoundingClientRect(); return performance.now() - start; }})()"
        );
        slowest = slowest.max(browser.eval(&script).await.as_f64().unwrap());
        assert_eq!(browser.text("#text").await.len(), 8192);
    }
    println!(
        "{} KiB open in {opened:.0} ms; the slowest switch takes {slowest:.0} ms",
        bytes >> 10
    );
    assert!(bytes < 8 << 20, "{bytes} bytes");
    assert!(
        opened < PATIENCE_MS && slowest < PATIENCE_MS,
        "{opened} ms, {slowest} ms"
    );
    pick(&browser, "methods", 0).await;
    browser.eval("window.scrollTo(0, 0)").await;
    browser.screenshot("long").await;
    browser.assert_quiet().await;
    browser.end().await;
}
