//! The OpenAPI document of the JSON API, made from the row types and kept in the repository.
//!
//! `src/admin/openapi.json` is what [`document`] makes; a unit test holds it to that, and an integration test
//! holds the real answers to it. To write it anew: `INTERLOCK_WRITE=1 cargo test openapi`.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::view::snapshot::Snapshot;
use super::view::tables::{TABLES, Table};
use crate::admission::groups::Group;
use crate::admission::lock_order::Hazard;
use crate::admission::record::Record;

/// The document, as served.
pub const TEXT: &str = include_str!("openapi.json");

/// Makes the document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for table in TABLES.iter().filter(|table| !matches!(table.name, "conflicts" | "status")) {
        paths.insert(format!("/api/{}", table.name), json!({ "get": rows(table) }));
    }
    let error = json!({ "$ref": "#/components/responses/error" });
    let number = |name: &str, what: &str| json!({ "name": name, "in": "path", "required": true, "description": what, "schema": { "type": "integer", "minimum": 0 } });
    let get = |summary: &str, parameters: Value, schema: Value| {
        json!({ "get": { "summary": summary, "parameters": parameters, "responses": {
            "200": { "description": "OK", "content": { "application/json": { "schema": schema } } }, "default": error } } })
    };
    let record = json!({ "$ref": "#/components/schemas/Record" });
    let page = json!({ "type": "object", "required": ["next", "conflicts"], "properties": {
        "next": { "type": "integer", "description": "Ask for conflicts after this number next time." },
        "conflicts": { "type": "array", "items": record } } });
    let after = json!([{ "name": "after", "in": "query", "description": "Records with larger numbers are wanted.", "schema": { "type": "integer", "minimum": 0, "default": 0 } },
        { "name": "limit", "in": "query", "description": "The most records of the answer; ask again after its `next` for those behind them.", "schema": { "type": "integer", "minimum": 1, "maximum": 10000, "default": 1000 } }]);
    paths.insert(
        "/api/status".into(),
        get("interlock's state in figures.", json!([]), json!({ "$ref": "#/components/schemas/Status" })),
    );
    paths.insert("/api/conflicts".into(), get("Conflict records after a number, oldest first.", after, page));
    paths.insert(
        "/api/conflicts/{seq}".into(),
        get("One conflict record.", json!([number("seq", "Its number.")]), record),
    );
    let groups = json!({ "type": "object", "required": ["groups"], "properties": {
        "groups": { "type": "array", "items": { "$ref": "#/components/schemas/Group" } } } });
    paths.insert(
        "/api/groups".into(),
        get("Conflicts of one kind counted together, the most frequent first.", json!([]), groups),
    );
    let id = json!([{ "name": "id", "in": "path", "required": true, "description": "Its name.", "schema": { "type": "string" } }]);
    paths.insert(
        "/api/groups/{id}".into(),
        get("One group with its newest example.", id, json!({ "$ref": "#/components/schemas/Group" })),
    );
    let hazards = json!({ "type": "object", "required": ["hazards"], "properties": {
        "hazards": { "type": "array", "items": { "$ref": "#/components/schemas/Hazard" } } } });
    paths.insert(
        "/api/hazards".into(),
        get("Deadlocks that may come: cycles in the order in which transactions lock.", json!([]), hazards),
    );
    paths.insert("/api/events".into(), json!({ "get": { "summary": "Server-sent events; the data of each event `state` is a Snapshot.", "responses": {
        "200": { "description": "A stream that does not end.", "content": { "text/event-stream": { "schema": { "$ref": "#/components/schemas/Snapshot" } } } }, "default": error } } }));
    paths.insert("/api/openapi.json".into(), get("This document.", json!([]), json!({ "type": "object" })));
    let change = |summary: &str, name: &str, what: &str, done: &str| {
        json!({ "post": { "summary": summary, "security": [{ "token": [] }], "parameters": [number(name, what)], "responses": {
            "200": { "description": "Done.", "content": { "application/json": { "schema": { "type": "object", "required": [done], "properties": { done: { "type": "integer" } } } } } },
            "401": error, "403": error, "404": error } } })
    };
    paths.insert(
        "/api/holds/{hold}/release".into(),
        change("Lets a held statement go on.", "hold", "Number of the hold.", "released"),
    );
    paths.insert(
        "/api/sessions/{session}/kill".into(),
        change(
            "Closes a session; the server rolls its transaction back.",
            "session",
            "Number of the session.",
            "killed",
        ),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "interlock",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What interlock knows of sessions, transactions, locks and conflicts. Literals of statements are replaced by `?` unless `redact = false`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:6034" }],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": { "error": { "description": "Why not.", "content": { "application/json": { "schema": {
                "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } } } } } } },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "`admin.token` of the configuration." } },
        },
    })
}

fn rows(table: &Table) -> Value {
    let mut parameters =
        vec![json!({ "name": "limit", "in": "query", "description": "The most rows of the answer.",
        "schema": { "type": "integer", "minimum": 0, "maximum": 10000, "default": 1000 } })];
    for column in table.columns() {
        let what = format!("Only rows with this value: {}", column.doc);
        parameters.push(json!({ "name": column.name, "in": "query", "description": what, "schema": { "type": "string" } }));
    }
    let item = json!({ "$ref": format!("#/components/schemas/{}", table.type_name()) });
    json!({ "summary": table.doc(), "parameters": parameters, "responses": {
        "200": { "description": "OK", "content": { "application/json": { "schema": {
            "type": "object", "required": [table.name, "truncated"], "additionalProperties": false, "properties": {
                table.name: { "type": "array", "items": item },
                "truncated": { "type": "boolean", "description": "There are more rows." } } } } } },
        "default": { "$ref": "#/components/responses/error" } } })
}

fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    generator.subschema_for::<Snapshot>();
    generator.subschema_for::<Record>();
    generator.subschema_for::<Group>();
    generator.subschema_for::<Hazard>();
    for table in TABLES {
        (table.register)(&mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    for schema in schemas.values_mut() {
        if let Some(object) = schema.as_object_mut().filter(|object| object.contains_key("properties")) {
            object.insert("additionalProperties".to_owned(), false.into());
        }
    }
    schemas.sort_keys();
    Value::Object(schemas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_the_types_make() {
        let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("INTERLOCK_WRITE").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/openapi.json"), &text).unwrap();
        } else {
            assert!(
                text == TEXT,
                "src/admin/openapi.json is old: INTERLOCK_WRITE=1 cargo test --lib openapi"
            );
        }
    }
}
