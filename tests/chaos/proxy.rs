//! A TCP proxy that injects faults at a chosen message of a conversation.
//!
//! It reads MySQL packets to know where a message begins, so it stands on legs without TLS. Half of the chosen
//! packet is passed on before the fault strikes: the other side is then in the midst of reading.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// What happens to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Both sides get a reset.
    Reset,
    /// Both sides get an orderly end.
    Close,
    /// The receiver gets an orderly end; the other direction goes on.
    HalfClose,
    /// The message, and all that follow, come one byte at a time.
    Dribble,
    /// The message waits for so many milliseconds, once.
    Delay(u64),
    /// So many bytes each millisecond from here on.
    Bandwidth(usize),
}

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client towards the server.
    Up,
    /// From the server towards the client.
    Down,
}

/// A fault and its place.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What.
    pub fault: Fault,
    /// In which direction the message goes.
    pub direction: Direction,
    /// Which message of that direction, from 0.
    pub at: usize,
}

impl Plan {
    /// No fault.
    pub const NONE: Plan = Plan { fault: Fault::None, direction: Direction::Up, at: 0 };
}

/// Chooses the plan of each new connection.
type Choose = Box<dyn FnMut() -> Plan + Send>;

/// The proxy; dropped, it takes no more connections.
pub struct FaultProxy {
    /// Its port on 127.0.0.1.
    pub port: u16,
    target: Arc<Mutex<SocketAddr>>,
    choose: Arc<Mutex<Choose>>,
    stop: Arc<AtomicBool>,
    struck: Arc<AtomicUsize>,
}

impl FaultProxy {
    /// In front of a port of 127.0.0.1.
    pub fn start(target: u16) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let proxy = FaultProxy {
            port,
            target: Arc::new(Mutex::new(SocketAddr::from(([127, 0, 0, 1], target)))),
            choose: Arc::new(Mutex::new(Box::new(|| Plan::NONE))),
            stop: Arc::default(),
            struck: Arc::default(),
        };
        let (target, choose) = (proxy.target.clone(), proxy.choose.clone());
        let (stop, struck) = (proxy.stop.clone(), proxy.struck.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), plan) = (client, choose.lock().expect("no panic under it")()) else {
                    continue;
                };
                // A client whose server cannot be reached is closed, as by a balancer.
                let target = *target.lock().expect("no panic under it");
                if let Ok(server) = TcpStream::connect(target) {
                    connect(client, server, plan, &struck);
                }
            }
        });
        proxy
    }

    /// The plan of every connection from now on.
    pub fn plan(&self, plan: Plan) {
        self.choose(move || plan);
    }

    /// Chooses the plan of each connection from now on.
    pub fn choose(&self, choose: impl FnMut() -> Plan + Send + 'static) {
        *self.choose.lock().expect("no panic under it") = Box::new(choose);
    }

    /// Where connections go from now on.
    pub fn redirect(&self, target: u16) {
        *self.target.lock().expect("no panic under it") = SocketAddr::from(([127, 0, 0, 1], target));
    }

    /// How many faults have struck.
    pub fn struck(&self) -> usize {
        self.struck.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(client: TcpStream, server: TcpStream, plan: Plan, struck: &Arc<AtomicUsize>) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let one_way = |from: &TcpStream, to: &TcpStream, direction| {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let plan = if plan.direction == direction { plan } else { Plan::NONE };
        let struck = struck.clone();
        // A broken connection ends its two threads; that is what they are for.
        thread::spawn(move || {
            let _ = relay(&from, &to, plan, &struck);
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    one_way(&client, &server, Direction::Up);
    one_way(&server, &client, Direction::Down);
}

fn relay(mut from: &TcpStream, mut to: &TcpStream, plan: Plan, struck: &AtomicUsize) -> io::Result<()> {
    for number in 0.. {
        let mut packet = vec![0; 4];
        from.read_exact(&mut packet)?;
        let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
        packet.resize(4 + length, 0);
        from.read_exact(&mut packet[4..])?;
        if number < plan.at || plan.fault == Fault::None {
            to.write_all(&packet)?;
            continue;
        }
        if number == plan.at {
            struck.fetch_add(1, Ordering::Relaxed);
        }
        let half = packet.len() / 2;
        match plan.fault {
            Fault::None => to.write_all(&packet)?,
            Fault::Reset => {
                to.write_all(&packet[..half])?;
                for stream in [from, to] {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                }
                // The other direction's thread holds copies: a shutdown wakes it, and the last close resets.
                let _ = from.shutdown(Shutdown::Both);
                return Ok(());
            }
            Fault::Close => {
                to.write_all(&packet[..half])?;
                to.shutdown(Shutdown::Both)?;
                from.shutdown(Shutdown::Both)?;
                return Ok(());
            }
            Fault::HalfClose => {
                to.write_all(&packet[..half])?;
                to.shutdown(Shutdown::Write)?;
                // What still comes is thrown away, so that the sender is not stopped.
                io::copy(&mut { from }, &mut io::sink())?;
                return Ok(());
            }
            Fault::Dribble => {
                for byte in packet.chunks(1) {
                    to.write_all(byte)?;
                }
            }
            Fault::Delay(ms) => {
                if number == plan.at {
                    thread::sleep(Duration::from_millis(ms));
                }
                to.write_all(&packet)?;
            }
            Fault::Bandwidth(bytes) => {
                for piece in packet.chunks(bytes.max(1)) {
                    to.write_all(piece)?;
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }
    Ok(())
}
