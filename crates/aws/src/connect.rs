//! The way to AWS: one HTTP client with pinned roots, and the SDK's clients over it. Nothing is called here.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{
    BehaviorVersion, IdentityCache, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector as TcpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use placet_core::Fault;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Access, Roots};

/// Amazon Root CA 1 to 4 and Starfield Services Root CA G2: every AWS endpoint's certificate leads to one of them.
/// Source: <https://www.amazontrust.com/repository/>.
const AMAZON_ROOTS: &[u8] = include_bytes!("roots.pem");

/// For TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// For one try, and for all tries of one call: together they stay below what a caller at the API waits.
pub(crate) const TRY_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

const TRIES: u32 = 3;

/// Idle connections are dropped before AWS drops them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// What the SDK's clients are made from, with the credentials that Lambda puts into the environment.
pub fn sdk_config(access: &Access, variable: impl Fn(&str) -> Option<String>) -> Result<SdkConfig, Fault> {
    let key_id = variable("AWS_ACCESS_KEY_ID");
    let secret = variable("AWS_SECRET_ACCESS_KEY");
    let (Some(key_id), Some(secret)) = (key_id, secret) else {
        return Err(Fault::bare("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set"));
    };
    let credentials = Credentials::new(key_id, secret, variable("AWS_SESSION_TOKEN"), None, "environment");
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(access.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // They are in memory already.
        .identity_cache(IdentityCache::no_cache())
        .http_client(http_client(&access.roots)?)
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
        // All answers are small.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_use_fips(Some(access.use_fips));
    config.set_endpoint_url(access.endpoint_url.clone());
    Ok(config.build())
}

/// How long calls may take.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(TRY_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

/// The one HTTP client: HTTP/1.1 and no more, which is all that these services speak.
///
/// The SDK's own brings HTTP/2 along, and each function would be most of a megabyte larger.
pub(crate) fn http_client(roots: &Roots) -> Result<SharedHttpClient, Fault> {
    Ok(client_of(connector(roots)?))
}

/// A client that sends everything by that connector.
pub(crate) fn client_of(wire: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| wire.clone())
}

/// What the client sends by, for a call that no SDK makes.
pub(crate) fn connector(roots: &Roots) -> Result<SharedHttpConnector, Fault> {
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnector::from((tcp, tls_config(roots)?));
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
    Ok(SharedHttpConnector::new(Wire(builder.build(connector))))
}

/// The TLS configuration: TLS 1.2 and 1.3, and whose certificates are trusted.
fn tls_config(roots: &Roots) -> Result<ClientConfig, Fault> {
    const UNUSABLE: &str = "the trusted certificates cannot be used";
    let mut trusted = RootCertStore::empty();
    let mut trust = |pem: &[u8]| -> Result<(), Fault> {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| Fault::new(UNUSABLE, error))?;
            trusted.add(certificate).map_err(|error| Fault::new(UNUSABLE, error))?;
        }
        Ok(())
    };
    match roots {
        Roots::Amazon => trust(AMAZON_ROOTS)?,
        Roots::File(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Fault::new("the file that AWS_CA_BUNDLE names cannot be read", error))?;
            trust(&pem)?;
        }
        // A system's folder may hold one that is odd, and many that are good.
        Roots::System => {
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if trusted.is_empty() {
        return Err(Fault::bare("there are no trusted certificates"));
    }
    // The provider is named: asking for the process's default fails when two are linked in.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::new("TLS cannot be set up", error))?;
    Ok(versions.with_root_certificates(trusted).with_no_client_auth())
}

/// What the SDK sends by.
#[derive(Debug)]
struct Wire(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        say_which_connection(&mut request);
        let sent = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let answer = sent.await.map_err(problem)?;
            let answer = answer.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Lets the SDK mark the connection that a call failed on, so that the next try gets another one.
fn say_which_connection(request: &mut hyper::Request<SdkBody>) {
    let taken = capture_connection(request);
    let Some(asked) = request.extensions().get::<CaptureSmithyConnection>() else { return };
    asked.set_connection_retriever(move || {
        let taken = taken.clone();
        let poison = move || {
            if let Some(connection) = taken.connection_metadata().as_ref() {
                connection.poison();
            }
        };
        Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
    });
}

/// What went wrong, in the words by which the SDK tells what may be tried again.
fn problem(error: hyper_util::client::legacy::Error) -> ConnectorError {
    let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    let is_temporary = error.is_connect()
        || causes.any(|cause| {
            let broken = |hyper: &hyper::Error| {
                hyper.is_closed()
                    || hyper.is_canceled()
                    || hyper.is_incomplete_message()
                    || hyper.is_timeout()
            };
            cause.is::<std::io::Error>() || cause.downcast_ref::<hyper::Error>().is_some_and(broken)
        });
    if is_temporary { ConnectorError::io(error.into()) } else { ConnectorError::other(error.into(), None) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use aws_sdk_secretsmanager::Client as Secrets;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A service that speaks TLS, and breaks its first connections off without an answer.
    struct Service {
        url: String,
        bundle: PathBuf,
    }

    impl Service {
        async fn start(name: &str, breaks_off: usize) -> Self {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let config =
                ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_no_client_auth()
                    .with_single_cert(vec![made.cert.der().clone()], key)
                    .unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
            tokio::spawn(async move {
                for number in 0.. {
                    let (stream, _) = listener.accept().await.unwrap();
                    // A client that does not trust the certificate ends the handshake.
                    let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                    let mut said = [0; 4096];
                    let _ = stream.read(&mut said).await;
                    if number >= breaks_off {
                        let body = r#"{"Name":"keyring","SecretString":"it is there"}"#;
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        let _ = stream.read(&mut said).await;
                    }
                }
            });
            let bundle = std::env::temp_dir().join(format!("placet-{name}-{}.pem", std::process::id()));
            std::fs::write(&bundle, made.cert.pem()).unwrap();
            Self { url, bundle }
        }

        async fn ask(&self, roots: Roots) -> Result<String, String> {
            let access = Access {
                region: "eu-central-1".into(),
                endpoint_url: Some(self.url.clone()),
                use_fips: false,
                roots,
            };
            let config = sdk_config(&access, |_| Some("a credential".to_owned())).unwrap();
            let asked = Secrets::new(&config).get_secret_value().secret_id("keyring").send().await;
            match asked {
                Ok(value) => Ok(value.secret_string.unwrap_or_default()),
                Err(error) => Err(Fault::new("not reached", error).chain()),
            }
        }

        fn bundle(&self) -> Roots {
            Roots::File(self.bundle.to_string_lossy().into_owned())
        }
    }

    impl Drop for Service {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.bundle);
        }
    }

    #[tokio::test]
    async fn only_those_are_trusted_whom_the_roots_name() {
        let service = Service::start("trusted", 0).await;
        assert_eq!(service.ask(service.bundle()).await, Ok("it is there".to_owned()));
        let refused = service.ask(Roots::Amazon).await.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
    }

    #[tokio::test]
    async fn what_breaks_off_without_an_answer_is_tried_again() {
        let service = Service::start("broken", 2).await;
        assert_eq!(service.ask(service.bundle()).await, Ok("it is there".to_owned()));
    }

    #[tokio::test]
    async fn the_next_try_does_not_take_the_connection_that_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let (said, mut calls) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let said = said.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    // It would take more calls: each connection is kept open.
                    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                        said.send(connection).unwrap();
                        let (status, body) = match connection {
                            0 => ("500 Oh", r#"{"__type":"InternalServiceError"}"#),
                            _ => ("200 OK", r#"{"Name":"keyring","SecretString":"it is there"}"#),
                        };
                        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                        stream.write_all((head + body).as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let access = Access {
            region: "eu-central-1".into(),
            endpoint_url: Some(url),
            use_fips: false,
            roots: Roots::Amazon,
        };
        let config = sdk_config(&access, |_| Some("a credential".to_owned())).unwrap();
        let secrets = Secrets::new(&config);
        for _ in 0..2 {
            secrets.get_secret_value().secret_id("keyring").send().await.unwrap();
        }
        let mut used = Vec::new();
        while let Ok(connection) = calls.try_recv() {
            used.push(connection);
        }
        assert_eq!(used, [0, 1, 1]);
    }

    #[test]
    fn the_pinned_roots_are_the_five_of_amazon() {
        let text = std::str::from_utf8(AMAZON_ROOTS).unwrap();
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 5);
        assert!(http_client(&Roots::Amazon).is_ok());
    }

    #[test]
    fn a_bundle_that_is_missing_or_empty_is_refused() {
        let fault = |path: &str| http_client(&Roots::File(path.into())).err().unwrap().chain();
        let missing = fault("/nowhere/ca.pem");
        assert!(missing.starts_with("the file that AWS_CA_BUNDLE names cannot be read"), "{missing}");
        assert_eq!(fault("/dev/null"), "there are no trusted certificates");
    }
}
