//! What a bundle's `connections.yaml.j2` says, as far as checks need it; `bind` has validated it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::pointer;

/// One connection.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Connection {
    pub(super) url: String,
    pub(super) check: Option<Check>,
    #[serde(default)]
    pub(super) tls: Tls,
}

/// How to tell that the peer is there. The first that fits is meant; the schema keeps them apart.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Check {
    Otlp {
        otlp: String,
        exporter: Option<String>,
        #[serde(flatten)]
        login: Login,
    },
    Aws {
        aws: String,
    },
    Tls {
        tls: bool,
    },
    Http {
        #[serde(default = "get")]
        method: String,
        path: String,
        status: u16,
        #[serde(default = "unauthorized")]
        refused: Vec<u16>,
        #[serde(flatten)]
        login: Login,
    },
}

fn get() -> String {
    "GET".to_owned()
}

fn unauthorized() -> Vec<u16> {
    vec![401, 403]
}

/// What a request carries for the peer to know its sender.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
    pub(super) basic: Option<Basic>,
}

/// User name and password.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Basic {
    pub(super) username: String,
    pub(super) password: String,
}

/// How the consumer of the connection does TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tls {
    pub(super) verify: bool,
    pub(super) ca_file: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) server_name: Option<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { verify: true, ca_file: None, cert_file: None, key_file: None, server_name: None }
    }
}

/// What an exporter of the final config sends to, and how; patches are in it.
#[derive(Clone, Debug)]
pub(super) struct Exporter {
    pub(super) url: String,
    pub(super) tls: Tls,
    pub(super) login: Login,
}

/// The endpoint of an OTLP exporter, as the collector's own exporters read their config. Nothing if the config has no such
/// exporter, which a patch may have taken away.
pub(super) fn exporter(config: &Value, id: &str, signal: &str) -> Option<Exporter> {
    let own = config.pointer(&pointer::join("/exporters", id))?;
    let text = |key: &str| own.get(key).and_then(Value::as_str);
    let tls = own.get("tls").cloned().unwrap_or_default();
    let says = |key: &str| tls.get(key).and_then(Value::as_bool).unwrap_or_default();
    let file = |key: &str| tls.get(key).and_then(Value::as_str).map(str::to_owned);
    let endpoint = text("endpoint")?;
    let grpc = matches!(id.split('/').next(), Some("otlp_grpc" | "otlp"));
    let url = if grpc {
        // The scheme of a gRPC endpoint may be left out; a written one decides over `insecure`.
        match endpoint.split_once("://") {
            Some(("http", rest)) => format!("grpc://{rest}"),
            Some((_, rest)) => format!("grpcs://{rest}"),
            None if says("insecure") => format!("grpc://{endpoint}"),
            None => format!("grpcs://{endpoint}"),
        }
    } else {
        match text(&format!("{signal}_endpoint")) {
            Some(whole) => whole.to_owned(),
            None => format!("{}/v1/{signal}", endpoint.trim_end_matches('/')),
        }
    };
    let mut login =
        Login { headers: own.get("headers").and_then(Value::as_object).cloned().unwrap_or_default(), basic: None };
    let authenticator = own.pointer("/auth/authenticator").and_then(Value::as_str);
    if let Some(extension) = authenticator.and_then(|id| config.pointer(&pointer::join("/extensions", id))) {
        if let Some(client) = extension.get("client_auth") {
            login.basic = serde_json::from_value(client.clone()).ok();
        } else if let Some(token) = extension.get("token").and_then(Value::as_str) {
            let scheme = extension.get("scheme").and_then(Value::as_str).unwrap_or("Bearer");
            let header = extension.get("header").and_then(Value::as_str).unwrap_or("authorization");
            let value = if scheme.is_empty() { token.to_owned() } else { format!("{scheme} {token}") };
            login.headers.insert(header.to_owned(), value.into());
        }
    }
    let tls = Tls {
        verify: !says("insecure_skip_verify"),
        ca_file: file("ca_file"),
        cert_file: file("cert_file"),
        key_file: file("key_file"),
        server_name: file("server_name_override"),
    };
    Some(Exporter { url, tls, login })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_an_exporter_as_the_collector_does() {
        let config = json!({
            "exporters": {
                "otlp_grpc/a": {"endpoint": "a:4317", "tls": {"insecure": true}},
                "otlp_grpc/b": {"endpoint": "b:4317"},
                "otlp_grpc/c": {"endpoint": "http://c:4317"},
                "otlp_http": {"endpoint": "https://d/otlp/", "headers": {"k": "v"}, "tls": {"insecure_skip_verify": true}},
                "otlp_http/e": {"endpoint": "https://d", "traces_endpoint": "https://e/t", "auth": {"authenticator": "bearertokenauth"}},
                "otlp_http/f": {"endpoint": "https://f", "auth": {"authenticator": "basicauth/f"}},
            },
            "extensions": {
                "bearertokenauth": {"token": "${env:T}"},
                "basicauth/f": {"client_auth": {"username": "u", "password": "${env:P}"}},
            },
        });
        let of = |id: &str| exporter(&config, id, "traces").unwrap();
        for (id, url) in [
            ("otlp_grpc/a", "grpc://a:4317"),
            ("otlp_grpc/b", "grpcs://b:4317"),
            ("otlp_grpc/c", "grpc://c:4317"),
            ("otlp_http", "https://d/otlp/v1/traces"),
            ("otlp_http/e", "https://e/t"),
            ("otlp_http/f", "https://f/v1/traces"),
        ] {
            assert_eq!(of(id).url, url, "{id}");
        }
        assert!(!of("otlp_http").tls.verify);
        assert_eq!(of("otlp_http").login.headers["k"], "v");
        assert_eq!(of("otlp_http/e").login.headers["authorization"], "Bearer ${env:T}");
        assert_eq!(of("otlp_http/f").login.basic.unwrap().password, "${env:P}");
        assert!(exporter(&config, "otlp_http/g", "traces").is_none());
    }
}
