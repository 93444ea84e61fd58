//! The way to AWS: one HTTP client with pinned roots, and the SDK's clients over it. Nothing is called here.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{
    BehaviorVersion, IdentityCache, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_types::SdkConfig;
use placet_gate::Fault;

use crate::config::{Access, Roots};

/// Amazon Root CA 1 to 4 and Starfield Services Root CA G2: every AWS endpoint's certificate leads to one of them.
/// Source: <https://www.amazontrust.com/repository/>.
const AMAZON_ROOTS: &[u8] = include_bytes!("roots.pem");

/// For TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// For one try, and for all tries of one call: together they stay below what a caller at the API waits.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
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

/// The one HTTP client.
pub(crate) fn http_client(roots: &Roots) -> Result<SharedHttpClient, Fault> {
    let trusted = match roots {
        Roots::Amazon => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
        Roots::System => TrustStore::empty().with_native_roots(true),
        Roots::File(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Fault::new("the file that AWS_CA_BUNDLE names cannot be read", error))?;
            TrustStore::empty().with_pem_certificate(pem)
        }
    };
    let context = TlsContext::builder()
        .with_trust_store(trusted)
        .build()
        .map_err(|error| Fault::new("the trusted certificates cannot be used", error))?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build_https())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_roots_are_the_five_of_amazon() {
        let text = std::str::from_utf8(AMAZON_ROOTS).unwrap();
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 5);
        assert!(http_client(&Roots::Amazon).is_ok());
    }

    #[test]
    fn a_missing_bundle_is_named() {
        let fault = http_client(&Roots::File("/nowhere/ca.pem".into())).err().unwrap();
        assert!(
            fault.chain().starts_with("the file that AWS_CA_BUNDLE names cannot be read"),
            "{}",
            fault.chain()
        );
    }
}
