//! Reference scenario: where schools and health facilities are, who learns and lives there, what is not known, and what could be
//! connected in which year.
//!
//! ```text
//! INE, MEC, MSPBS, CONATEL, MITIC ── the road ──▶ planner ─▶ gap ─▶ roadmap ─▶ report: pages, JSON, CSV, maps
//! ```
//!
//! The agencies' services and the planner know nothing of the road: plain tonic on both sides. Every page that the
//! planner read carries the id of its exchange, under which anyone can find its evidence.

pub mod agency;
pub mod assign;
pub mod changes;
pub mod data;
pub mod earlier;
pub mod equity;
pub mod figure;
pub mod gap;
pub mod indicators;
pub mod money;
pub mod place;
pub mod planner;
pub mod priority;
pub mod receive;
pub mod register;
pub mod report;
pub mod roadmap;
pub mod settings;
pub mod site;

/// Generated from `proto/`: what the agencies say.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
pub mod wire {
    /// INE.
    pub mod ine {
        include!(concat!(env!("OUT_DIR"), "/py.ine.v1.rs"));
    }
    /// MEC.
    pub mod mec {
        include!(concat!(env!("OUT_DIR"), "/py.mec.v1.rs"));
    }
    /// MSPBS.
    pub mod mspbs {
        include!(concat!(env!("OUT_DIR"), "/py.mspbs.v1.rs"));
    }
    /// CONATEL.
    pub mod conatel {
        include!(concat!(env!("OUT_DIR"), "/py.conatel.v1.rs"));
    }
    /// MITIC.
    pub mod mitic {
        include!(concat!(env!("OUT_DIR"), "/py.mitic.v1.rs"));
    }
}

/// Contract of `py.ine.v1.DistrictService`: a file descriptor set with its imports.
pub const DISTRICT_CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/district.bin"));
/// Contract of `py.mec.v1.SchoolService`.
pub const SCHOOL_CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/school.bin"));
/// Contract of `py.mspbs.v1.FacilityService`.
pub const FACILITY_CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/facility.bin"));
/// Contract of `py.conatel.v1.PublicationService`.
pub const PUBLICATION_CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/publication.bin"));
/// Contract of `py.mitic.v1.PublicSpaceService`.
pub const PUBLIC_SPACE_CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/space.bin"));
/// Full name of MSPBS's service.
pub const FACILITY_SERVICE: &str = "py.mspbs.v1.FacilityService";
/// Full name of CONATEL's service.
pub const PUBLICATION_SERVICE: &str = "py.conatel.v1.PublicationService";
/// Full name of MITIC's service.
pub const PUBLIC_SPACE_SERVICE: &str = "py.mitic.v1.PublicSpaceService";
/// Full name of INE's service.
pub const DISTRICT_SERVICE: &str = "py.ine.v1.DistrictService";
/// Full name of MEC's service.
pub const SCHOOL_SERVICE: &str = "py.mec.v1.SchoolService";
/// Contract of MEC's register over HTTP: an OpenAPI document.
pub const SCHOOL_REST_CONTRACT: &[u8] = include_bytes!("../openapi/schools.json");
/// Code of MEC's service over HTTP.
pub const SCHOOL_REST_SERVICE: &str = "schools";
/// Why the planner asks.
pub const PURPOSE: &str = "connectivity-planning";
