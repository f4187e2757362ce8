//! A client with TLS, and the ways in which it is turned away.

use super::certificates::{Authority, Identity};
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, ClientIdentity, Conn, Error, Opts, OptsBuilder, SslOpts};
use std::time::Duration;

/// Where to log in, and as whom.
#[derive(Clone)]
pub struct Client {
    options: OptsBuilder,
}

/// Why there is no session: the number of an error packet, and the text.
#[derive(Debug)]
pub struct Refused {
    /// Number of the error packet; `None` where the connection ended without one.
    pub code: Option<u16>,
    /// Its text, or what the client says.
    pub text: String,
}

impl Client {
    /// A client without TLS.
    pub fn plain(port: u16, user: &str, password: &str) -> Client {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            // Not round the proxy, by the server's own socket.
            .prefer_socket(false)
            .user(Some(user))
            .pass(Some(password));
        Client { options }
    }

    /// A client that takes TLS and believes the authority, which must have signed for 127.0.0.1.
    pub fn tls(port: u16, user: &str, password: &str, authority: &Authority) -> Client {
        Client::plain(port, user, password).ssl(trusting(authority))
    }

    /// A client that takes TLS and shows a certificate itself.
    pub fn with_identity(self, authority: &Authority, identity: &Identity) -> Client {
        let identity = ClientIdentity::new(identity.cert.clone().into(), identity.key.clone().into());
        self.ssl(trusting(authority).with_client_identity(Some(identity)))
    }

    fn ssl(self, options: SslOpts) -> Client {
        Client { options: self.options.ssl_opts(options) }
    }

    /// Logs in, asks for one value, and leaves.
    pub fn ask(&self, sql: &str) -> Result<String, Refused> {
        self.with(async |connection| Ok(connection.query_first(sql).await?.unwrap_or_default()))
    }

    /// Logs in and changes to another account; the account that the server then sees.
    pub fn change_user(&self, user: &str, password: &str) -> Result<String, Refused> {
        let options =
            ChangeUserOpts::new().with_user(Some(user.to_owned())).with_pass(Some(password.to_owned()));
        self.with(async |connection| {
            connection.change_user(options).await?;
            Ok(connection.query_first("SELECT USER()").await?.unwrap_or_default())
        })
    }

    /// Logs in, does this, and leaves; none of it may take 15 s.
    fn with<F>(&self, work: F) -> Result<String, Refused>
    where
        F: AsyncFnOnce(&mut Conn) -> Result<String, Error>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let options = Opts::from(self.options.clone());
        let session = async {
            let mut connection = Conn::new(options).await?;
            let value = work(&mut connection).await?;
            connection.disconnect().await?;
            Ok::<String, Error>(value)
        };
        let limited = async { tokio::time::timeout(Duration::from_secs(15), session).await };
        runtime.expect("a runtime").block_on(limited).expect("nobody hangs").map_err(Refused::from)
    }
}

fn trusting(authority: &Authority) -> SslOpts {
    SslOpts::default().with_root_certs(vec![authority.ca.clone().into()]).with_disable_built_in_roots(true)
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        match error {
            Error::Server(error) => Refused { code: Some(error.code), text: error.message },
            other => Refused { code: None, text: other.to_string() },
        }
    }
}
