//! Contracts of REST services: an OpenAPI 3 document in JSON.
//!
//! An operation is a method; its name is verb and path template, `GET /schools/{id}`. GET, HEAD, OPTIONS and TRACE
//! have no side effects, all others have them, as RFC 9110 §9.2.1 says and every HTTP library acts. The extension
//! `x-peabiru-side-effects: "present"` says that a GET has some; a POST cannot be called harmless, because a client
//! that knows HTTP and not the extension would treat it otherwise. `x-peabiru-purposes` and `x-peabiru-timeout-ms`
//! stand on the operation, its path or the document: the nearest one counts.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    ContractError, Delivery, MAX_OPERATIONS, MethodFacts, ServiceFacts, Streaming, json, purposes, shortened,
};
use crate::entry::SideEffects;
use crate::path::{Template, VERBS};

type Object = Map<String, Value>;

/// Parses a document.
pub(super) fn parse(bytes: &[u8]) -> Result<ServiceFacts, ContractError> {
    let document = json::parse(bytes).map_err(|error| ContractError::UnparsableOpenApi(error.to_string()))?;
    let unparsable = |what: &str| ContractError::UnparsableOpenApi(what.to_owned());
    let document = document.as_object().ok_or_else(|| unparsable("it is no object"))?;
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.") {
        return Err(unparsable("its key `openapi` does not say version 3"));
    }
    let paths =
        document.get("paths").and_then(Value::as_object).ok_or_else(|| unparsable("it has no `paths`"))?;
    let mut operations = Vec::new();
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let item = item.as_object().ok_or_else(|| unparsable("a path's item is no object"))?;
        if item.contains_key("$ref") {
            return Err(unparsable("a path's item is a $ref: put the operations themselves under `paths`"));
        }
        for verb in VERBS {
            let Some(operation) = item.get(&verb.to_ascii_lowercase()) else { continue };
            let operation = operation.as_object().ok_or_else(|| unparsable("an operation is no object"))?;
            if operations.len() == MAX_OPERATIONS {
                return Err(ContractError::TooManyOperations);
            }
            operations.push(facts(verb, path, [operation, item, document])?);
        }
    }
    if operations.is_empty() {
        return Err(ContractError::NoService);
    }
    ServiceFacts::of_rest(operations)
}

/// `levels`: the operation, its path, the document.
fn facts(verb: &str, path: &str, levels: [&Object; 3]) -> Result<(Template, MethodFacts), ContractError> {
    let method = format!("{verb} {}", shortened(path));
    let template = Template::new(verb, path)
        .map_err(|source| ContractError::Template { method: method.clone(), source })?;
    let extension = |key: &'static str| {
        let found = levels.iter().find_map(|level| level.get(key));
        found.map(|value| (value, ContractError::Extension { method: method.clone(), key }))
    };
    let named = match extension(PURPOSES) {
        None => Vec::new(),
        Some((value, refusal)) => {
            let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
            texts.ok_or(refusal)?
        }
    };
    let timeout = match extension(TIMEOUT_MS) {
        None => None,
        Some((value, refusal)) => {
            let ms = value.as_u64().and_then(|ms| u32::try_from(ms).ok()).filter(|ms| *ms > 0);
            Some(Duration::from_millis(ms.ok_or(refusal)?.into()))
        }
    };
    let side_effects = match extension(SIDE_EFFECTS) {
        Some((value, _)) if value == "present" => SideEffects::Present,
        Some((_, refusal)) => return Err(refusal),
        None if SAFE.contains(&verb) => SideEffects::None,
        None => SideEffects::Present,
    };
    let facts = MethodFacts {
        name: template.as_str().to_owned(),
        side_effects,
        purposes: purposes(&method, named.into_iter())?,
        timeout,
        streaming: Streaming::Unary,
        delivery: Delivery::Whole,
    };
    Ok((template, facts))
}

/// Every promise of `old` that `new` breaks: an operation removed, a read that now has side effects, a parameter or
/// body that is now required. What bodies look like is not compared.
pub(super) fn broken(old: (&ServiceFacts, &[u8]), new: (&ServiceFacts, &[u8])) -> Vec<String> {
    let mut broken = Vec::new();
    let documents = [old.1, new.1].map(|bytes| json::parse(bytes).unwrap_or_default());
    for template in old.0.templates() {
        let name = template.as_str();
        let alike =
            new.0.templates.iter().flat_map(|all| all.get(&(template.verb().to_owned(), template.len())));
        let Some(kept) = alike.flatten().find(|other| other.same_shape(template)) else {
            broken.push(format!("operation {name} is gone"));
            continue;
        };
        let effects = |facts: &ServiceFacts, name: &str| facts.method(name).map(|facts| facts.side_effects);
        if effects(old.0, name) == Some(SideEffects::None)
            && effects(new.0, kept.as_str()) == Some(SideEffects::Present)
        {
            broken.push(format!("operation {name} was a read and now has side effects"));
        }
        let before = demanded(&documents[0], template);
        let demands = demanded(&documents[1], kept);
        broken.extend(
            demands
                .into_iter()
                .filter(|what| !before.contains(what))
                .map(|what| format!("{name} now needs {what}")),
        );
    }
    broken
}

/// What an operation requires beside its path.
fn demanded(document: &Value, template: &Template) -> Vec<String> {
    let item = &document["paths"][template.path()];
    let operation = &item[template.verb().to_ascii_lowercase()];
    let parameters =
        [item, operation].into_iter().filter_map(|level| level["parameters"].as_array()).flatten();
    let required = |value: &Value| value["required"].as_bool().unwrap_or_default();
    let mut demanded: Vec<_> = parameters
        .map(|parameter| resolved(document, parameter))
        .filter(|parameter| required(parameter) && parameter["in"] != "path")
        .map(|parameter| {
            let text = |key: &str| shortened(parameter[key].as_str().unwrap_or_default());
            format!("the {} parameter {}", text("in"), text("name"))
        })
        .collect();
    if required(resolved(document, &operation["requestBody"])) {
        demanded.push("a body".to_owned());
    }
    demanded
}

/// Follows one reference within the document.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let target = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

/// Without side effects by RFC 9110.
const SAFE: &[&str] = &["GET", "HEAD", "OPTIONS", "TRACE"];
const PURPOSES: &str = "x-peabiru-purposes";
const TIMEOUT_MS: &str = "x-peabiru-timeout-ms";
const SIDE_EFFECTS: &str = "x-peabiru-side-effects";

#[cfg(test)]
mod tests {
    use super::super::{ContractDocument, compatible};
    use super::*;
    use crate::path::RestPath;

    fn document(paths: &str) -> Result<ContractDocument, ContractError> {
        let text = format!(
            r#"{{"openapi":"3.0.3","info":{{"title":"s","version":"1"}},"x-peabiru-purposes":["planning"],"paths":{{{paths}}}}}"#
        );
        ContractDocument::parse(text.into())
    }

    const SCHOOLS: &str = r#""/schools/{id}":{"get":{},"delete":{"x-peabiru-purposes":["upkeep"],"x-peabiru-timeout-ms":500}},
        "/schools/all":{"get":{"x-peabiru-side-effects":"present"}}"#;

    #[test]
    fn an_operation_has_the_facts_of_the_nearest_level() {
        let document = document(SCHOOLS).unwrap();
        let facts = document.service("schools").unwrap();
        let read = facts.method("GET /schools/{id}").unwrap();
        assert_eq!((read.side_effects, read.timeout), (SideEffects::None, None));
        assert!(read.purposes.contains(&"planning".parse().unwrap()));
        let delete = facts.method("DELETE /schools/{id}").unwrap();
        assert_eq!(
            (delete.side_effects, delete.timeout),
            (SideEffects::Present, Some(Duration::from_millis(500)))
        );
        assert!(!delete.purposes.contains(&"planning".parse().unwrap()));
        let means = |verb: &str, path: &str| {
            facts.operation(verb, &RestPath::parse(path).unwrap()).map(|facts| facts.name.as_str())
        };
        assert_eq!(means("GET", "/schools/all"), Some("GET /schools/all"));
        assert_eq!(means("GET", "/schools/7"), Some("GET /schools/{id}"));
        assert_eq!(means("DELETE", "/schools/all"), Some("DELETE /schools/{id}"));
        assert_eq!(means("POST", "/schools/7"), None);
        assert_eq!(facts.method("GET /schools/all").unwrap().side_effects, SideEffects::Present);
        assert!(facts.is_rest() && document.pool().is_none() && document.services().next().is_none());
    }

    #[test]
    fn what_is_no_contract_is_refused_with_its_reason() {
        let refused = |paths: &str| document(paths).unwrap_err().to_string();
        assert!(refused("").contains("no service"));
        assert!(refused(r#""/a/{x}":{"get":{}},"/a/{y}":{"get":{}}"#).contains("only by the names"));
        assert!(refused(r#""/a":{"get":{}},"/a":{"get":{}}"#).contains("twice"));
        assert!(refused(r#""/a":{"$ref":"x"}"#).contains("$ref"));
        assert!(refused(r#""/a/../b":{"get":{}}"#).contains("dots"));
        assert!(refused(r#""/a":{"get":{"x-peabiru-purposes":"planning"}}"#).contains("x-peabiru-purposes"));
        assert!(refused(r#""/a":{"get":{"x-peabiru-purposes":[]}}"#).contains("no purpose"));
        assert!(
            refused(r#""/a":{"post":{"x-peabiru-side-effects":"none"}}"#).contains("x-peabiru-side-effects")
        );
        let deep = format!("{{\"openapi\":{}", "[".repeat(100_000));
        assert!(ContractDocument::parse(deep.into()).is_err());
        assert!(ContractDocument::parse(r#"{"swagger":"2.0","paths":{}}"#.into()).is_err());
        let many: Vec<_> =
            (0..=MAX_OPERATIONS).map(|number| format!(r#""/{number}":{{"get":{{}}}}"#)).collect();
        assert_eq!(document(&many.join(",")).unwrap_err(), ContractError::TooManyOperations);
    }

    #[test]
    fn a_new_version_may_add_and_nothing_else() {
        let old = document(SCHOOLS).unwrap();
        let wider = document(&format!(r#"{SCHOOLS},"/new":{{"post":{{}}}}"#)).unwrap();
        assert_eq!(compatible(&old, &wider), Ok(()));
        let broken = |paths: &str| compatible(&old, &document(paths).unwrap()).unwrap_err().join("; ");
        let less = r#""/schools/{key}":{"get":{"x-peabiru-side-effects":"present","requestBody":{"required":true}}},
            "/schools/all":{"parameters":[{"in":"query","name":"year","required":true}],"get":{}}"#;
        let reasons = broken(less);
        for reason in [
            "operation DELETE /schools/{id} is gone",
            "GET /schools/{id} was a read",
            "GET /schools/{id} now needs a body",
            "GET /schools/all now needs the query parameter year",
        ] {
            assert!(reasons.contains(reason), "{reason}: {reasons}");
        }
    }
}
