//! What X-Road's metadata services say, in its JSON (x-road.md §3.8).

use std::collections::{BTreeMap, BTreeSet};

use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::id::{MemberId, ServiceId};
use peabiru_proto::path::Template;
use serde_json::{Value, json};

/// Members and subsystems: of one instance, if it is named.
#[must_use]
pub fn clients(conf: &GlobalConfiguration, instance: Option<&str>) -> String {
    let wanted = |id: &MemberId| instance.is_none_or(|instance| id.instance().as_str() == instance);
    let mut listed = Vec::new();
    for member in conf.members().filter(|member| wanted(&member.id)) {
        let id = |kind: &str| {
            json!({
                "object_type": kind,
                "xroad_instance": member.id.instance().as_str(),
                "member_class": member.id.class(),
                "member_code": member.id.code(),
            })
        };
        listed.push(json!({ "id": id("MEMBER"), "name": member.name }));
        for (subsystem, name) in &member.subsystems {
            let mut id = id("SUBSYSTEM");
            id["subsystem_code"] = subsystem.code().into();
            listed.push(json!({ "id": id, "name": member.name, "subsystem_name": name }));
        }
    }
    json!({ "member": listed }).to_string()
}

/// One service with those of its operations that are to be seen.
#[must_use]
pub fn service<'a>(service: &ServiceId, operations: impl Iterator<Item = &'a Template>) -> Value {
    let endpoint = |template: &Template| json!({ "method": template.verb(), "path": template.glob() });
    listed(service, "OPENAPI", &operations.map(endpoint).collect::<Vec<_>>())
}

/// One gRPC service with those of its methods that are to be seen, each as gRPC asks for it over HTTP.
#[must_use]
pub fn grpc_service(service: &ServiceId, methods: &[&str]) -> Value {
    let path = |method: &&str| json!({ "method": "POST", "path": format!("/{}/{method}", service.code()) });
    listed(service, GRPC, &methods.iter().map(path).collect::<Vec<_>>())
}

fn listed(service: &ServiceId, kind: &str, endpoints: &[Value]) -> Value {
    let member = service.member();
    json!({
        "object_type": "SERVICE",
        "xroad_instance": member.instance().as_str(),
        "member_class": member.class(),
        "member_code": member.code(),
        "subsystem_code": service.subsystem().code(),
        "service_code": service.code(),
        "service_type": kind,
        "endpoint_list": endpoints,
    })
}

/// The methods of each gRPC service in a list, by the service's code. What is written otherwise is not in it.
#[must_use]
pub fn read_grpc(list: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let list: Value = serde_json::from_slice(list).unwrap_or_default();
    let mut services = BTreeMap::<_, BTreeSet<_>>::new();
    for listed in list["service"].as_array().into_iter().flatten().filter(|it| it["service_type"] == GRPC) {
        let Some(code) = listed["service_code"].as_str() else { continue };
        let endpoints = listed["endpoint_list"].as_array().into_iter().flatten();
        let methods = endpoints.filter_map(|endpoint| endpoint["path"].as_str()?.rsplit('/').next());
        services.entry(code.to_owned()).or_default().extend(methods.map(str::to_owned));
    }
    services
}

/// A list of services.
#[must_use]
pub fn services(services: &[Value]) -> String {
    json!({ "service": services }).to_string()
}

/// Query of `allowedMethods`: services of which type.
pub const SERVICE_TYPE: &str = "serviceType";
/// The type of those that X-Road does not know.
pub const GRPC: &str = "GRPC";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_grpc_services_reads_back_and_anything_else_is_empty() {
        let id: ServiceId = "PY/GOV/MEC/app/road.test.v1.EchoService".parse().unwrap();
        let list = services(&[grpc_service(&id, &["Say", "Note"]), listed(&id, "OPENAPI", &[])]);
        let methods = BTreeSet::from(["Say".to_owned(), "Note".to_owned()]);
        assert_eq!(read_grpc(list.as_bytes()), BTreeMap::from([(id.code(), methods)]));
        for other in ["", "[]", r#"{"service":7}"#, r#"{"service":[{"service_type":"GRPC"}]}"#] {
            assert!(read_grpc(other.as_bytes()).is_empty(), "{other}");
        }
    }
}
