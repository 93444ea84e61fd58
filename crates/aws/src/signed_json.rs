//! One call of an AWS API that speaks JSON over REST: signed by Signature Version 4, sent by the functions' own client.
//!
//! For SES v2, of which the gate needs one operation, and for what the operator's `doctor` asks of Lambda. Their SDKs would
//! be large parts of a function and of the command.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_types::SdkConfig;
use hyper::http::Request;
use placet_core::Fault;
use serde_json::Value;
use tokio::time::timeout;

use crate::connect::TRY_TIMEOUT;
use crate::now;

/// How often a call is made that gets no answer. The outbox tries again what fails for longer.
const TRIES: usize = 2;

/// A service that is called.
pub(crate) struct SignedJson {
    connector: SharedHttpConnector,
    credentials: SharedCredentialsProvider,
    region: String,
    /// Without a slash at its end.
    endpoint: String,
    /// The name that is signed.
    service: &'static str,
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answered {
    /// It did it.
    Done(Value),
    /// It refused, or failed.
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The error's code; empty where there is none. Letters and digits.
        code: String,
        /// The service's own words. They can name an address, so they are not for the log.
        message: String,
    },
    /// It could not be reached, or gave no answer in time.
    Silent,
}

impl SignedJson {
    /// SES v2, in the region and with the credentials of that configuration.
    /// Source: <https://docs.aws.amazon.com/general/latest/gr/ses.html>.
    pub(crate) fn ses(sdk: &SdkConfig, connector: SharedHttpConnector) -> Result<Self, Fault> {
        Self::of(sdk, connector, "ses", "email")
    }

    /// Lambda, for the operator.
    #[cfg(feature = "operator")]
    pub(crate) fn lambda(sdk: &SdkConfig, connector: SharedHttpConnector) -> Result<Self, Fault> {
        Self::of(sdk, connector, "lambda", "lambda")
    }

    fn of(
        sdk: &SdkConfig,
        connector: SharedHttpConnector,
        service: &'static str,
        host: &str,
    ) -> Result<Self, Fault> {
        let region = sdk.region().ok_or(Fault::bare("no AWS region is set"))?.to_string();
        let credentials = sdk.credentials_provider().ok_or(Fault::bare("there are no AWS credentials"))?;
        let endpoint = sdk.endpoint_url().map_or_else(
            || endpoint(host, &region, sdk.use_fips() == Some(true)),
            |url| url.trim_end_matches('/').to_owned(),
        );
        Ok(Self { connector, credentials, region, endpoint, service })
    }

    /// Makes one call.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answered {
        for _ in 0..TRIES {
            match timeout(TRY_TIMEOUT, self.call_once(method, path, body)).await {
                Ok(Ok(answered)) => return answered,
                Ok(Err(fault)) => tracing::warn!(error = fault.chain(), "a call of AWS got no answer"),
                Err(_) => tracing::warn!("a call of AWS got no answer in time"),
            }
        }
        Answered::Silent
    }

    async fn call_once(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answered, Fault> {
        const UNMADE: &str = "a call of AWS could not be made";
        let url = format!("{}{path}", self.endpoint);
        let bytes = body.map(|value| value.to_string().into_bytes()).unwrap_or_default();
        let headers = [("content-type", "application/json")];
        let mut request = Request::builder()
            .method(method)
            .uri(&url)
            .header("content-type", "application/json")
            .body(SdkBody::from(bytes.clone()))
            .map_err(|error| Fault::new(UNMADE, error))?;
        let credentials = self.credentials.provide_credentials().await;
        let identity = credentials.map_err(|error| Fault::new(UNMADE, error))?.into();
        let since = Duration::from_millis(u64::try_from(now().millis()).unwrap_or(0));
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(UNIX_EPOCH + since)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| Fault::new(UNMADE, error))?
            .into();
        let signable = SignableRequest::new(method, &url, headers.into_iter(), SignableBody::Bytes(&bytes))
            .map_err(|error| Fault::new(UNMADE, error))?;
        let signed = sign(signable, &params).map_err(|error| Fault::new(UNMADE, error))?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        let request = HttpRequest::try_from(request).map_err(|error| Fault::new(UNMADE, error))?;
        let response =
            self.connector.call(request).await.map_err(|error| Fault::new("AWS was not reached", error))?;
        let status = response.status().as_u16();
        let kind = response.headers().get("x-amzn-errortype").map(str::to_owned);
        let read = ByteStream::new(response.into_body()).collect().await;
        let read = read.map_err(|error| Fault::new("an answer of AWS broke off", error))?.into_bytes();
        let value: Value = serde_json::from_slice(&read).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(Answered::Done(value));
        }
        let said = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let code = kind.or_else(|| said("__type")).or_else(|| said("code")).unwrap_or_default();
        let message = said("message").or_else(|| said("Message")).unwrap_or_default();
        Ok(Answered::Refused { status, code: plain_code(&code), message })
    }
}

/// A code without its namespace and what follows it: `a.b#Code:http://…` is `Code`.
/// Source: <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization>.
fn plain_code(code: &str) -> String {
    let named = code.split(':').next().unwrap_or_default();
    let named = named.rsplit('#').next().unwrap_or_default();
    named.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

fn endpoint(host: &str, region: &str, use_fips: bool) -> String {
    let fips = if use_fips { "-fips" } else { "" };
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{host}{fips}.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_in_each_of_its_spellings() {
        for spelled in [
            "MessageRejected",
            "MessageRejected:http://internal.amazon.com/coral/com.amazonaws.sesv2/",
            "com.amazonaws.sesv2#MessageRejected",
            "aws.protocoltests.restjson#MessageRejected:http://example.com/",
        ] {
            assert_eq!(plain_code(spelled), "MessageRejected");
        }
        assert_eq!(plain_code("bob@example.com is not verified"), "bobexamplecomisnotverified");
        assert_eq!(plain_code(""), "");
    }

    #[test]
    fn each_partition_has_its_own_addresses() {
        assert_eq!(endpoint("email", "eu-central-1", false), "https://email.eu-central-1.amazonaws.com");
        assert_eq!(
            endpoint("email", "us-gov-west-1", true),
            "https://email-fips.us-gov-west-1.amazonaws.com"
        );
        assert_eq!(endpoint("lambda", "cn-north-1", false), "https://lambda.cn-north-1.amazonaws.com.cn");
    }
}
