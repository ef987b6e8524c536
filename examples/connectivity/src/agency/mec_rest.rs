//! MEC's register for clients that speak HTTP and JSON: one site by its code.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::data::{self, DataError, Published};
use crate::wire::mec::{School, Zone};

/// Answers from MEC's register.
#[derive(Debug, Clone)]
pub struct MecRest {
    schools: Arc<[School]>,
}

/// What `openapi/schools.json` calls `School`.
#[derive(Serialize)]
struct Row<'a> {
    establishment_code: &'a str,
    name: &'a str,
    district_code: &'a str,
    zone: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    boys: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    girls: Option<i32>,
}

impl MecRest {
    /// Reads the register.
    ///
    /// # Errors
    /// The first row that does not parse.
    pub fn open(published: &Published) -> Result<Self, DataError> {
        Ok(Self { schools: data::schools(published)?.into() })
    }

    /// Serves until `stop` ends.
    ///
    /// # Errors
    /// What the listener says.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let app = Router::new().route("/schools/{code}", get(school)).with_state(self);
        axum::serve(listener, app).with_graceful_shutdown(stop).await
    }
}

async fn school(State(mec): State<MecRest>, Path(code): Path<String>) -> Response {
    let Ok(found) = mec.schools.binary_search_by(|school| school.establishment_code.cmp(&code)) else {
        return (StatusCode::NOT_FOUND, "MEC has no such site").into_response();
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    match serde_json::to_string(&Row::of(&mec.schools[found])) {
        Ok(row) => (json, row).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl<'a> Row<'a> {
    fn of(school: &'a School) -> Self {
        Self {
            establishment_code: &school.establishment_code,
            name: &school.name,
            district_code: &school.district_code,
            zone: match school.zone() {
                Zone::Unspecified => "",
                Zone::Urban => "urban",
                Zone::Rural => "rural",
            },
            boys: school.boys,
            girls: school.girls,
        }
    }
}
