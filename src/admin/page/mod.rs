//! The page at `/`: files that are part of the program, so it works without a network and without a build.

use axum::Router;
use axum::http::header;
use axum::routing::get;

/// Path, media type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("/page/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("/page/dom.js", "text/javascript; charset=utf-8", include_str!("dom.js")),
    ("/page/timeline.js", "text/javascript; charset=utf-8", include_str!("timeline.js")),
    ("/page/patterns.js", "text/javascript; charset=utf-8", include_str!("patterns.js")),
    ("/page/hazards.js", "text/javascript; charset=utf-8", include_str!("hazards.js")),
    ("/page/words.js", "text/javascript; charset=utf-8", include_str!("words.js")),
    (
        "/page/cytoscape-dagre.js",
        "text/javascript; charset=utf-8",
        include_str!("vendor/cytoscape-dagre.min.mjs"),
    ),
    (
        "/page/cytoscape-dagre-LICENSE.txt",
        "text/plain; charset=utf-8",
        include_str!("vendor/cytoscape-dagre-LICENSE.txt"),
    ),
    ("/page/graph.js", "text/javascript; charset=utf-8", include_str!("graph.js")),
    ("/page/cytoscape.js", "text/javascript; charset=utf-8", include_str!("vendor/cytoscape.esm.min.mjs")),
    (
        "/page/cytoscape-LICENSE.txt",
        "text/plain; charset=utf-8",
        include_str!("vendor/cytoscape-LICENSE.txt"),
    ),
    ("/page/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

pub(super) fn router() -> Router {
    let mut router = Router::new();
    for (path, kind, content) in FILES {
        let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")];
        router = router.route(path, get(async move || (headers, *content)));
    }
    router
}
