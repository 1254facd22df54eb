"""Calls the health service of two replicas, round robin and without retries, until stdin ends.

Prints a line for each call: `answered REPLICA`, `unsent`, or `failed` and why.
"""

import sys
import threading
import time

import grpc

PAUSE = 0.02
PRINTING = threading.Lock()
OPTIONS = [
    ("grpc.default_authority", "here"),
    ("grpc.lb_policy_name", "round_robin"),
    # A connection for each client.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


def outcome(check):
    try:
        _, call = check.with_call(b"", timeout=10)
        return "answered " + dict(call.initial_metadata())["replica"]
    except grpc.RpcError as error:
        if "failed to connect to all addresses" in error.details():
            return "unsent"
        return f"failed {error.code()} {error.details()!r}"


def run(target, stop):
    with grpc.insecure_channel(target, OPTIONS) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        while not stop.is_set():
            line = outcome(check)
            with PRINTING:
                print(line, flush=True)
            time.sleep(PAUSE)


def main():
    clients, *replicas = sys.argv[1:]
    target = "ipv4:" + ",".join(replicas)
    stop = threading.Event()
    threads = [threading.Thread(target=run, args=(target, stop)) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


main()
