//! Asks each call who it is, and for whom.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use http_body::Frame;
use tokio::time::Instant;
use tonic::{Status, body::Body};
use tower::{Layer, Service as TowerService};

use super::{
    AuthOptions, Caller, TENANT_HEADER, Tenant,
    caller::TENANT,
    jwks::Jwks,
    jwt::{self, JwtOptions, Refusal},
    keys::{Holder, Keys},
    quota::{Accounts, Running},
};
use crate::{
    ConfigError, Error, Peer, Reason,
    layer::{GrpcService, ResponseFuture, refusal, trailers::Observed},
    method::Method,
    reload::Reloaded,
};

/// Paths that are asked: the methods of Trivium. Health and reflection say nothing about anybody.
const OURS: &str = "/trivium.";

/// Adds [`Auth`].
#[derive(Clone)]
pub(crate) struct AuthLayer(Option<Arc<Door>>);

/// What callers are compared with.
struct Door {
    options: AuthOptions,
    keys: Option<Reloaded<Keys>>,
    jwt: Option<(JwtOptions, Jwks)>,
    accounts: Accounts,
}

impl AuthLayer {
    /// Reads the files, and follows them. Without options everybody is let in.
    ///
    /// # Errors
    /// Names the key that will not do, relative to the section.
    pub fn new(options: Option<&AuthOptions>) -> Result<Self, ConfigError> {
        let Some(options) = options.cloned() else { return Ok(Self(None)) };
        let every = Duration::from_millis(options.reload_ms);
        let read = |path: PathBuf| Reloaded::new("keys_file", vec![path.clone()], every, move || Keys::read(&path));
        let keys = options.keys_file.clone().map(read).transpose()?;
        let jwt = match options.jwt.clone() {
            Some(jwt) => {
                let keys = Jwks::new(&jwt, every).map_err(|error| error.within("jwt"))?;
                Some((jwt, keys))
            }
            None => None,
        };
        Ok(Self(Some(Arc::new(Door { options, keys, jwt, accounts: Accounts::default() }))))
    }
}

impl Door {
    /// Who calls.
    fn ask(&self, headers: &HeaderMap, peer: &Peer, method: Method) -> Result<Caller, Error> {
        if headers.contains_key(AUTHORIZATION) {
            return self.ask_outsider(headers, method);
        }
        if !self.trusts(peer) {
            let why = if headers.contains_key(TENANT_HEADER) {
                "the call names a tenant, and its connection is none that is believed"
            } else {
                "the call shows no key and no token: it needs the metadata authorization: Bearer KEY"
            };
            return Err(Error::new(Reason::Unauthenticated, why));
        }
        if method.is_for_operators {
            return Err(not_an_operator());
        }
        let mut named = headers.get_all(TENANT_HEADER).iter();
        match (named.next(), named.next()) {
            (None, _) => Ok(Caller::Service),
            (Some(name), None) => {
                let tenant = name.to_str().ok().and_then(Tenant::named);
                let tenant = tenant.ok_or_else(|| unknown("the tenant that the call names cannot be one"))?;
                Ok(Caller::Tenant { tenant, account: None })
            }
            (Some(_), Some(_)) => Err(unknown("the call names two tenants")),
        }
    }

    fn ask_outsider(&self, headers: &HeaderMap, method: Method) -> Result<Caller, Error> {
        let Holder { tenant, is_operator } = self.holder(headers)?;
        if method.is_for_operators && !is_operator {
            return Err(not_an_operator());
        }
        let account = self.accounts.of(&tenant, &self.options, Instant::now());
        Ok(Caller::Tenant { tenant, account: Some(account) })
    }

    /// Whom what the caller shows is for.
    fn holder(&self, headers: &HeaderMap) -> Result<Holder, Error> {
        let bearer = bearer(headers)?;
        if let Some(holder) = self.keys.as_ref().and_then(|keys| keys.get().holder(bearer).cloned()) {
            return Ok(holder);
        }
        // Tokens have two dots, and keys none.
        match &self.jwt {
            Some((options, keys)) if bearer.contains('.') => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                jwt::check(bearer, &keys.get(), options, now).map_err(|refusal| {
                    if refusal == Refusal::UnknownKey {
                        keys.missed();
                    }
                    unknown(refusal)
                })
            }
            _ => Err(unknown("the key is none that this server knows")),
        }
    }

    /// Whether a connection is one of a service that says for whom it works.
    fn trusts(&self, peer: &Peer) -> bool {
        let by_name = peer.names().iter().any(|name| self.options.trusted_peers.contains(name));
        by_name || (self.options.trust_loopback && peer.is_local())
    }
}

/// What a caller shows: the key or token of the one `authorization: Bearer ...` among its metadata.
///
/// # Errors
/// `UNAUTHENTICATED` when there is none, more than one, or one of another form. It quotes nothing.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let one = match (shown.next(), shown.next()) {
        (Some(one), None) => one,
        (None, _) => return Err(unknown("the call shows no key and no token")),
        (Some(_), Some(_)) => return Err(unknown("the call shows more than one key or token")),
    };
    let bearer = one.to_str().ok().and_then(|text| {
        let (scheme, rest) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    });
    bearer.ok_or_else(|| unknown("the metadata authorization is not of the form Bearer KEY"))
}

fn unknown(why: impl ToString) -> Error {
    Error::new(Reason::Unauthenticated, why.to_string())
}

fn not_an_operator() -> Error {
    Error::new(Reason::PermissionDenied, "only operators may do this: it concerns all tenants")
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, door: self.0.clone() }
    }
}

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Auth<S> {
    inner: S,
    door: Option<Arc<Door>>,
}

impl<S: GrpcService> TowerService<Request<Body>> for Auth<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        let door = self.door.as_ref().filter(|_| request.uri().path().starts_with(OURS));
        let Some(door) = door else { return Box::pin(self.inner.call(request)) };
        let method = Method::of(request.uri().path());
        let nobody = Peer::default();
        let peer = request.extensions().get().unwrap_or(&nobody);
        let admitted = door.ask(request.headers(), peer, method).and_then(|caller| {
            let running = match &caller {
                Caller::Tenant { account: Some(account), .. } => Some(account.enter(Instant::now())?),
                _ => None,
            };
            Ok((caller, running))
        });
        let (caller, running) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return Box::pin(async move { Ok(refusal(Status::from(error))) }),
        };
        // What has been read is of no use to anybody further in.
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove(TENANT_HEADER);
        let tenant = match &caller {
            Caller::Tenant { tenant, .. } => Some(tenant.clone()),
            _ => None,
        };
        request.extensions_mut().insert(caller);
        let Some(tenant) = tenant else { return Box::pin(self.inner.call(request)) };
        let response = TENANT.sync_scope(tenant.clone(), || self.inner.call(request));
        Box::pin(async move { Ok(on_behalf(TENANT.scope(tenant.clone(), response).await?, tenant, running)) })
    }
}

/// A response whose body is made on behalf of a tenant, and whose call is in flight until it has ended.
fn on_behalf(response: Response<Body>, tenant: Tenant, running: Option<Running>) -> Response<Body> {
    response.map(|inner| {
        let inner = Body::new(Observed::new(inner, running, |_| {}));
        Body::new(OnBehalf { inner, tenant })
    })
}

struct OnBehalf {
    inner: Body,
    tenant: Tenant,
}

impl http_body::Body for OnBehalf {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        TENANT.sync_scope(this.tenant.clone(), || Pin::new(&mut this.inner).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
