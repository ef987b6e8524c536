//! A fault as an answer to a REST call: X-Road's JSON or XML, its header, and our own stable code (x-road.md §3.7).

use http::{HeaderMap, Response, StatusCode};
use peabiru_ledger::payload::OpenBody;
use peabiru_proto::context;
use peabiru_proto::fault::{Fault, Spelling};
use peabiru_proto::language::Language;

use crate::grpc::body::RoadBody;
use crate::grpc::metadata::text;
use crate::rest::headers::{self, insert};

/// The answer. `detail` names it in the caller's and the node's records.
pub(super) fn respond(
    fault: &Fault,
    asked: &HeaderMap,
    detail: &str,
    spelling: Spelling,
) -> Response<RoadBody> {
    let xroad = fault.to_xroad(spelling);
    let message = fault.said(language(asked));
    let (kind, body) = if wants_xml(asked) {
        let [code, message, detail] = [&xroad.code, &message, detail].map(escape_xml);
        let body = format!(
            "<error><type>{code}</type><message>{message}</message><detail>{detail}</detail></error>"
        );
        ("text/xml; charset=utf-8", body)
    } else {
        let [code, message, detail] = [&xroad.code, &message, detail].map(escape_json);
        (
            "application/json; charset=utf-8",
            format!(r#"{{"type":{code},"message":{message},"detail":{detail}}}"#),
        )
    };
    let mut response = Response::new(RoadBody::new(OpenBody::Whole(body.into()), None));
    *response.status_mut() = StatusCode::from_u16(xroad.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    insert(headers, "content-type", kind);
    insert(headers, headers::ERROR, &xroad.code);
    insert(headers, context::FAULT, fault.code.as_str());
    if let Some(exchange) = fault.exchange {
        insert(headers, context::EXCHANGE_ID, &exchange.to_string());
    }
    response
}

/// As the caller asks for it.
pub(super) fn language(asked: &HeaderMap) -> Language {
    Language::of_accept_language(text(asked, "accept-language").unwrap_or_default())
}

fn wants_xml(asked: &HeaderMap) -> bool {
    let accept = text(asked, "accept").unwrap_or_default();
    ["text/xml", "application/xml", "text/*"].iter().any(|kind| accept.contains(kind))
}

fn escape_xml(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, letter| {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
        out
    })
}

fn escape_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::BodyExt as _;
    use peabiru_proto::fault::{FaultCode, Place};

    use super::*;

    async fn answered(accept: &'static str) -> (Response<()>, String) {
        let mut asked = HeaderMap::new();
        asked.insert("accept", HeaderValue::from_static(accept));
        let fault = Fault::new(FaultCode::AccessNoGrant, Place::ProviderNode, "a \"quoted\" <text>");
        let (head, body) = respond(&fault, &asked, "id", Spelling::Snake).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(head, ()), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_fault_is_written_as_the_caller_reads_it() {
        let (head, json) = answered("application/json").await;
        assert_eq!(
            (head.status().as_u16(), &head.headers()["x-road-error"]),
            (500, &"server.serverproxy.access_denied".parse().unwrap())
        );
        assert_eq!(head.headers()["x-peabiru-fault"], "access.no_grant");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (value["type"].as_str(), value["detail"].as_str()),
            (Some("server.serverproxy.access_denied"), Some("id"))
        );
        assert!(value["message"].as_str().unwrap().contains("a \"quoted\" <text>"));
        let mut asked = HeaderMap::new();
        asked.insert("accept-language", HeaderValue::from_static("es-PY, en;q=0.5"));
        assert_eq!(language(&asked), Language::Spanish);
        let (head, xml) = answered("text/xml").await;
        assert_eq!(head.headers()["content-type"], "text/xml; charset=utf-8");
        assert!(
            xml.contains("&lt;text&gt;")
                && xml.starts_with("<error><type>server.serverproxy.access_denied</type>")
        );
    }
}
