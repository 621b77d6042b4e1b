//! Requests, and what their answers mean.

use std::{collections::HashSet, sync::Arc};

use ebap_connector::{Error, Options, Result, chain};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use reqwest::{Method, StatusCode, Url, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    Kind, Reference, Schema,
    answers::{ErrorAnswer, IdAnswer, ReferenceAnswer, SchemaAnswer},
    cache::Cache,
    options::{Login, Settings},
};

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Of what the registry says, at the most.
const TEXT_MAX: usize = 300;
/// Schemas that one may need, at the most.
const REFERENCES_MAX: usize = 200;
/// "Schema not found", "subject not found", "version not found".
const NOT_FOUND: [i64; 3] = [40403, 40401, 40402];

/// A client of one registry. Connects when asked, and is asked by several tasks at once.
pub struct SchemaRegistry {
    settings: Settings,
    cache: Mutex<Cache>,
}

impl SchemaRegistry {
    /// By the options `schema_registry` and those that begin with `schema_registry.`; contacts nothing.
    ///
    /// # Errors
    /// `Option` for one that is missing, unknown or has a bad value.
    pub fn new(options: &Options) -> Result<Self> {
        Ok(Self { settings: Settings::parse(options)?, cache: Mutex::default() })
    }

    /// `schema registry 127.0.0.1:8081`
    pub fn system(&self) -> String {
        let host = |url: &Url| match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let hosts: Vec<String> = self.settings.urls.iter().map(host).collect();
        format!("schema registry {}", hosts.join(","))
    }

    /// The schema of this id; `None` where the registry has no such one.
    ///
    /// # Errors
    /// `Unreachable` where it does not answer, or not as a registry does.
    pub async fn schema(&self, id: u32) -> Result<Option<Arc<Schema>>> {
        if let Some(known) = self.cache.lock().get(id) {
            return Ok(Some(known));
        }
        let found: Option<SchemaAnswer> = self.get(&["schemas", "ids", &id.to_string()]).await?;
        match found {
            Some(found) => self.complete(id, found).await.map(Some),
            None => Ok(None),
        }
    }

    /// The newest schema of a subject; `None` where there is no such subject.
    ///
    /// # Errors
    /// As `schema`.
    pub async fn latest(&self, subject: &str) -> Result<Option<Arc<Schema>>> {
        let found: Option<SchemaAnswer> = self.get(&["subjects", subject, "versions", "latest"]).await?;
        let Some(found) = found else { return Ok(None) };
        let id = found.id.ok_or_else(|| self.strange("a version without an id"))?;
        self.complete(id, found).await.map(Some)
    }

    /// The id of this schema as one of the subject's: registers it where it is none yet.
    ///
    /// # Errors
    /// `Refused` where the registry does not take it, since it is not compatible with those before it; else as `schema`.
    pub async fn register(&self, subject: &str, kind: Kind, text: &str) -> Result<u32> {
        let body = match kind {
            // An older registry knows no other kind, nor the word for it.
            Kind::Avro => json!({ "schema": text }),
            other => json!({ "schema": text, "schemaType": other.to_string() }),
        };
        let found: Option<IdAnswer> =
            self.ask(Method::POST, &["subjects", subject, "versions"], Some(body.to_string())).await?;
        found.map(|found| found.id).ok_or_else(|| self.strange("a subject that cannot be found to be added to"))
    }

    async fn complete(&self, id: u32, found: SchemaAnswer) -> Result<Arc<Schema>> {
        let kind = found.schema_type.as_deref();
        let kind = Kind::parse(kind)
            .ok_or_else(|| self.strange(&format!("schema {id} of the unknown kind {}", kind.unwrap_or_default())))?;
        let (mut references, mut seen) = (Vec::new(), HashSet::new());
        self.collect(found.references, &mut seen, &mut references).await?;
        let schema = Arc::new(Schema { id, kind, text: found.schema, references });
        self.cache.lock().put(Arc::clone(&schema));
        Ok(schema)
    }

    /// Appends what these name, each behind what it needs itself.
    fn collect<'a>(
        &'a self,
        wanted: Vec<ReferenceAnswer>,
        seen: &'a mut HashSet<String>,
        into: &'a mut Vec<Reference>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for reference in wanted {
                if !seen.insert(reference.name.clone()) {
                    continue;
                }
                if seen.len() > REFERENCES_MAX {
                    return Err(self.strange(&format!("a schema that needs more than {REFERENCES_MAX} others")));
                }
                let version = reference.version.to_string();
                let found: Option<SchemaAnswer> =
                    self.get(&["subjects", &reference.subject, "versions", &version]).await?;
                let Some(found) = found else {
                    let what = format!("a reference to {} version {version}, which is not there", reference.subject);
                    return Err(self.strange(&what));
                };
                self.collect(found.references, seen, into).await?;
                into.push(Reference { name: reference.name, text: found.schema });
            }
            Ok(())
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks each address until one answers.
    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &[&str], body: Option<String>) -> Result<Option<T>> {
        let mut last = None;
        for base in &self.settings.urls {
            match self.ask_at(base, method.clone(), path, body.clone()).await {
                Err(Error::Unreachable { message, .. }) => last = Some(message),
                answered => return answered,
            }
        }
        Err(Error::unreachable(self.system(), last.unwrap_or_default()))
    }

    async fn ask_at<T: DeserializeOwned>(
        &self,
        base: &Url,
        method: Method,
        path: &[&str],
        body: Option<String>,
    ) -> Result<Option<T>> {
        let mut url = base.clone();
        // A subject may hold a slash, which `push` escapes.
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
            Err(()) => return Err(Error::internal("the address of a registry has no path")),
        }
        let changes = body.is_some();
        let mut request = self.settings.http.request(method, url).header("accept", MEDIA_TYPE);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, MEDIA_TYPE).body(body);
        }
        request = match &self.settings.login {
            Login::None => request,
            Login::Token(token) => request.bearer_auth(token),
            Login::Basic { username, password } => request.basic_auth(username, password.as_deref()),
        };
        let answered = async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        let (status, text) =
            answered.await.map_err(|error| Error::unreachable(self.system(), chain(&error.without_url())))?;
        if status.is_success() {
            return serde_json::from_slice(&text).map(Some).map_err(|error| self.strange(&format!("{error}")));
        }
        let said: Option<ErrorAnswer> = serde_json::from_slice(&text).ok();
        let code = said.as_ref().and_then(|said| said.error_code);
        if status == StatusCode::NOT_FOUND && code.is_some_and(|code| NOT_FOUND.contains(&code)) {
            return Ok(None);
        }
        let words = said.and_then(|said| said.message).unwrap_or_else(|| String::from_utf8_lossy(&text).into_owned());
        let words: String = words.trim().chars().take(TEXT_MAX).collect();
        let message = if words.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {words}") };
        let refused = [StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::BAD_REQUEST];
        if changes && refused.contains(&status) {
            return Err(Error::refused(self.system(), message));
        }
        // A wrong login or path is set right outside, and what waits for it goes on then.
        Err(Error::unreachable(self.system(), message))
    }

    fn strange(&self, what: &str) -> Error {
        Error::unreachable(self.system(), format!("it gave {what}"))
    }
}
