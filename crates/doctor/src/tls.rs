//! Examination of a host's certificate and TLS versions. Nothing is sent over these connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use contract::time::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::target::ProbeTarget;

/// The timeout of one handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// A time after any certificate's end: a verification at that time reports the end.
const FAR: Duration = Duration::from_secs(200 * 365 * 24 * 60 * 60);

/// The certificate and TLS versions of a host.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    /// Ok if this machine trusts the certificate for the host's name now; otherwise the reason.
    pub(super) trusted: Result<(), String>,
    /// The end of the certificate's validity.
    pub(super) not_after: Option<Timestamp>,
    /// True for each of the versions 1.2 and 1.3 that the host supports.
    pub(super) versions: [bool; 2],
}

impl Tls {
    /// Connects once for each version.
    pub(super) async fn probe(
        target: &ProbeTarget,
        addresses: &[SocketAddr],
    ) -> Result<Self, String> {
        let name =
            ServerName::try_from(target.host().to_owned()).map_err(|error| error.to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = target.roots.iter().cloned();
        let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
            .map_err(|error| format!("this machine's trusted certificates: {error}"))?;
        let verifier = Arc::new(RecordingVerifier { verifier, presented_chain: Mutex::default() });
        let connect = |version| connect(&verifier, &name, addresses, version);
        let (old, new) = tokio::join!(connect(&TLS12), connect(&TLS13));
        if let (Err(_), Err(cause)) = (&old, &new) {
            return Err(cause.clone());
        }
        Ok(Tls {
            trusted: verifier
                .verdict(&name, UnixTime::now())
                .map_err(|error| certificate_error(&error)),
            not_after: verifier.end(&name),
            versions: [old.is_ok(), new.is_ok()],
        })
    }
}

async fn connect(
    verifier: &Arc<RecordingVerifier>,
    name: &ServerName<'static>,
    addresses: &[SocketAddr],
    version: &'static SupportedProtocolVersion,
) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let handshake = async {
        let stream = TcpStream::connect(addresses).await?;
        TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await
    };
    match tokio::time::timeout(PATIENCE, handshake).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the handshake does not end".to_owned()),
    }
}

/// Records any certificate without refusing it, for a later verification with a detailed error.
#[derive(Debug)]
struct RecordingVerifier {
    verifier: Verifier,
    presented_chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl RecordingVerifier {
    fn verdict(&self, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        let presented_chain = self.presented_chain.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((leaf, others)) = presented_chain.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        self.verifier.verify_server_cert(leaf, others, name, &[], now).map(drop)
    }

    fn end(&self, name: &ServerName<'_>) -> Option<Timestamp> {
        let far = UnixTime::since_unix_epoch(FAR);
        match self.verdict(name, far) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => time(not_after),
            _ => None,
        }
    }
}

fn time(time: UnixTime) -> Option<Timestamp> {
    DateTime::from_timestamp(i64::try_from(time.as_secs()).ok()?, 0)
}

/// The error of a certificate, in words for its owner.
fn certificate_error(error: &Error) -> String {
    let Error::InvalidCertificate(wrong) = error else { return error.to_string() };
    match wrong {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "it expired on {}",
            time(*not_after).map(|time| time.format("%Y-%m-%d").to_string()).unwrap_or_default()
        ),
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "it is for {}, not for this host",
            presented.join(", ").replace("DnsName(\"", "").replace("\")", "")
        ),
        CertificateError::UnknownIssuer => {
            "its issuer is not trusted here: it is self-signed, or the intermediate certificates are missing".to_owned()
        }
        // This error has no variant of its own.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is an authority's own certificate, so most likely self-signed".to_owned()
        }
        other => other.to_string(),
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented_chain = std::iter::once(end_entity).chain(intermediates);
        *self.presented_chain.lock().unwrap_or_else(PoisonError::into_inner) =
            presented_chain.map(|certificate| certificate.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
