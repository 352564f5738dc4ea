//! Proves: a program such as people write works. A key-value server on a multi-threaded tokio runtime serves pipelined
//! requests of 16 connections on loopback; each client knows what it stored and checks every byte that comes back.
//!
//! ```text
//! request   op: u8 (0 get, 1 put, 2 delete) | key: u64 | length: u32 | value
//! response  found: u8                       |            length: u32 | value    (to put and delete: what was there)
//! ```
//!
//! Argument: the seed.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use gracealloc::GraceAlloc;
use integration::{Summary, random, require};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const CONNECTIONS: u64 = 16;
const REQUESTS: u64 = 3200;
/// Requests on their way, at most.
const PIPELINE: usize = 32;
const KEYS: u64 = 200;

type Store = Arc<[Mutex<HashMap<u64, Vec<u8>>>; 16]>;

fn main() -> io::Result<()> {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let seed = random::seed(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_io().build()?;
    let figures = runtime.block_on(run(seed))?;
    Summary::new("server")
        .with("seed", seed)
        .with("connections", CONNECTIONS)
        .with("requests", figures.requests)
        .with("found", figures.found)
        .with("bytes", figures.bytes)
        .print();
    Ok(())
}

/// What the clients counted.
#[derive(Clone, Copy, Default)]
struct Figures {
    requests: u64,
    found: u64,
    bytes: u64,
}

async fn run(seed: u64) -> io::Result<Figures> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener));
    let mut clients = JoinSet::new();
    for client in 0..CONNECTIONS {
        clients.spawn(async move { Client::new(client, seed).run(TcpStream::connect(address).await?).await });
    }
    let mut figures = Figures::default();
    while let Some(client) = clients.join_next().await {
        let client = client??;
        figures.requests += client.requests;
        figures.found += client.found;
        figures.bytes += client.bytes;
    }
    server.await??;
    Ok(figures)
}

/// Serves all connections until the clients close them.
async fn serve(listener: TcpListener) -> io::Result<()> {
    let store = Store::default();
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept().await?;
        connections.spawn(serve_connection(stream, store.clone()));
    }
    while let Some(connection) = connections.join_next().await {
        connection??;
    }
    Ok(())
}

async fn serve_connection(stream: TcpStream, store: Store) -> io::Result<()> {
    let (input, output) = stream.into_split();
    let (mut input, mut output) = (BufReader::new(input), BufWriter::new(output));
    loop {
        if input.buffer().is_empty() {
            output.flush().await?;
        }
        let Ok(op) = input.read_u8().await else {
            return Ok(());
        };
        let key = input.read_u64().await?;
        let value = read_value(&mut input).await?;
        let before = execute(&store, op, key, value);
        output.write_u8(before.is_some().into()).await?;
        write_value(&mut output, &before.unwrap_or_default()).await?;
    }
}

/// Executes a request; what was stored under its key before it.
fn execute(store: &Store, op: u8, key: u64, value: Vec<u8>) -> Option<Vec<u8>> {
    let mut shard = store[key as usize % store.len()].lock().expect("no panic");
    match op {
        0 => shard.get(&key).cloned(),
        1 => shard.insert(key, value),
        _ => shard.remove(&key),
    }
}

async fn read_value(input: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    let mut value = vec![0; input.read_u32().await? as usize];
    input.read_exact(&mut value).await?;
    Ok(value)
}

async fn write_value(output: &mut BufWriter<OwnedWriteHalf>, value: &[u8]) -> io::Result<()> {
    output.write_u32(value.len() as u32).await?;
    output.write_all(value).await
}

/// One connection: a sender that plans requests and what they must answer, and a receiver that checks.
struct Client {
    rng: Rng,
    keys: std::ops::Range<u64>,
    stored: HashMap<u64, u64>,
}

impl Client {
    fn new(index: u64, seed: u64) -> Self {
        let keys = index * KEYS..(index + 1) * KEYS;
        Self { rng: Rng::with_seed(seed ^ index), keys, stored: HashMap::new() }
    }

    async fn run(self, stream: TcpStream) -> io::Result<Figures> {
        let (input, output) = stream.into_split();
        let (expect, expected) = mpsc::channel(PIPELINE);
        let receiver = tokio::spawn(receive(BufReader::new(input), expected));
        self.send(BufWriter::new(output), expect).await?;
        receiver.await?
    }

    async fn send(
        mut self,
        mut output: BufWriter<OwnedWriteHalf>,
        expect: mpsc::Sender<Option<u64>>,
    ) -> io::Result<()> {
        for _ in 0..REQUESTS {
            let (op, key) = (self.rng.u8(..3), self.rng.u64(self.keys.clone()));
            let version = self.rng.u64(..);
            let value = if op == 1 { value(version) } else { Vec::new() };
            let before = match op {
                0 => self.stored.get(&key).copied(),
                1 => self.stored.insert(key, version),
                _ => self.stored.remove(&key),
            };
            output.write_u8(op).await?;
            output.write_u64(key).await?;
            write_value(&mut output, &value).await?;
            if expect.capacity() == 0 {
                output.flush().await?;
            }
            expect.send(before).await.map_err(io::Error::other)?;
        }
        output.flush().await?;
        output.shutdown().await
    }
}

/// Checks each response against what the sender expects.
async fn receive(
    mut input: BufReader<OwnedReadHalf>,
    mut expected: mpsc::Receiver<Option<u64>>,
) -> io::Result<Figures> {
    let mut figures = Figures::default();
    while let Some(expected) = expected.recv().await {
        let found = input.read_u8().await? == 1;
        let got = read_value(&mut input).await?;
        let right = found == expected.is_some() && got == expected.map(value).unwrap_or_default();
        require!(right, "response {}: {} bytes, not version {expected:?}", figures.requests, got.len());
        figures.requests += 1;
        figures.found += u64::from(found);
        figures.bytes += got.len() as u64;
    }
    Ok(figures)
}

/// The value of a version: its length (up to 64 KiB, mostly short) and every byte follow from the version.
fn value(version: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(version);
    let mut value = vec![0; random::size(&mut rng) / 4];
    rng.fill(&mut value);
    value
}
