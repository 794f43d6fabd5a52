//! One request to the API: what it is for, where it queues, and what it says.

use serde::Serialize;
use twilight_http::{
    request::{Method, Request, RequestBuilder as Building},
    routing::Route,
};

use super::{deed::Deed, http::Form, limiter::Lane};
use crate::store::{Error, Urgency};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The drive: a failure is one of the drive's.
    Drive,
    /// A conversation: its failures say nothing about the drive.
    Talk,
    /// The answer to an interaction, which has a token of its own in its path and needs no other.
    Hook,
}

/// One request to the API, to be sent once or more often.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) lane: Lane,
    pub(super) urgency: Urgency,
    pub(super) side: Side,
    pub(super) request: Request,
    pub(super) form: Option<Form>,
    /// For errors.
    pub(super) deed: Deed,
}

impl Ask {
    /// Without a body.
    pub(super) fn new(lane: Lane, route: &Route<'_>, deed: Deed) -> Self {
        Self {
            lane,
            urgency: Urgency::Background,
            side: Side::Drive,
            request: Request::from_route(route),
            form: None,
            deed,
        }
    }

    /// On a route that the typed ones do not have; `path` without a leading slash.
    pub(super) fn raw(lane: Lane, method: Method, path: String, deed: Deed) -> Result<Self, Error> {
        let request = Building::raw(method, path).build().map_err(unmade)?;
        let urgency = Urgency::Background;
        Ok(Self {
            lane,
            urgency,
            side: Side::Drive,
            request,
            form: None,
            deed,
        })
    }

    /// With a body of JSON.
    pub(super) fn json(
        lane: Lane,
        route: &Route<'_>,
        body: &impl Serialize,
        deed: Deed,
    ) -> Result<Self, Error> {
        let request = Request::builder(route).json(body).build().map_err(unmade)?;
        Ok(Self {
            request,
            ..Self::new(lane, route, deed)
        })
    }

    /// With a form, sent over a connection for large bodies.
    pub(super) fn form(lane: Lane, route: &Route<'_>, form: Form, deed: Deed) -> Self {
        Self {
            form: Some(form),
            ..Self::new(lane, route, deed)
        }
    }

    /// Length of its form, if it has one.
    pub(super) fn form_bytes(&self) -> u64 {
        self.form.as_ref().map_or(0, Form::bytes)
    }

    /// Said when it is not for the drive.
    pub(super) fn on(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// Said when somebody waits for the answer.
    pub(super) fn urgent(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }
}

fn unmade(error: twilight_http::Error) -> Error {
    Error::Broken {
        what: format!("a request could not be made: {error}"),
    }
}
