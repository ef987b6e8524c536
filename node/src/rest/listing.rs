//! What X-Road's metadata services say, in its JSON (x-road.md §3.8).

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
    let endpoints: Vec<_> =
        operations.map(|template| json!({ "method": template.verb(), "path": template.glob() })).collect();
    let member = service.member();
    json!({
        "object_type": "SERVICE",
        "xroad_instance": member.instance().as_str(),
        "member_class": member.class(),
        "member_code": member.code(),
        "subsystem_code": service.subsystem().code(),
        "service_code": service.code(),
        "service_type": "OPENAPI",
        "endpoint_list": endpoints,
    })
}

/// A list of services.
#[must_use]
pub fn services(services: &[Value]) -> String {
    json!({ "service": services }).to_string()
}
