"""The guide's client for a rate-limited provider, and plain aiohttp, as peers of the benches (see ../peers.rs).

`python3 client.py guide|aiohttp URL KEY`; it needs aiohttp. The client is the guide's, word for word as far as it is on the
way of a call that goes well; its budget is so large that it never waits.
"""

import asyncio
import random
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp

ORDERS = {"/small": 6, "/large": 580}


@dataclass
class RateLimitConfig:
    requests_per_window: int
    window_seconds: int
    max_retries: int = 5
    base_delay: float = 1.0
    max_delay: float = 60.0


class RateLimitedClient:
    """HTTP client with rate limiting and exponential backoff."""

    def __init__(self, config, session):
        self.config = config
        self.request_times = []
        self.session = session

    async def request(self, method, url, **kwargs):
        """Make rate-limited request with automatic retry."""
        for attempt in range(self.config.max_retries):
            # Pre-emptive rate limiting
            await self._wait_for_slot()
            try:
                async with self.session.request(method, url, **kwargs) as resp:
                    # Track request time
                    self._record_request()
                    # Success
                    if resp.status == 200:
                        return await resp.json()
                    # Rate limited
                    if resp.status == 429:
                        await asyncio.sleep(self._backoff_delay(attempt))
                        continue
                    # Server error (may be transient)
                    if resp.status >= 500:
                        await asyncio.sleep(self._backoff_delay(attempt))
                        continue
                    # Client error (don't retry)
                    resp.raise_for_status()
            except aiohttp.ClientError:
                if attempt < self.config.max_retries - 1:
                    await asyncio.sleep(self._backoff_delay(attempt))
                else:
                    raise
        raise Exception(f"Max retries ({self.config.max_retries}) exceeded")

    async def _wait_for_slot(self):
        """Wait until we have capacity within rate limit window."""
        now = datetime.now()
        window_start = now - timedelta(seconds=self.config.window_seconds)
        # Remove old requests outside window
        self.request_times = [t for t in self.request_times if t > window_start]
        # If at capacity, wait for oldest request to exit window
        if len(self.request_times) >= self.config.requests_per_window:
            oldest = self.request_times[0]
            wait_time = (oldest + timedelta(seconds=self.config.window_seconds) - now).total_seconds()
            if wait_time > 0:
                await asyncio.sleep(wait_time + 0.1)  # Small buffer

    def _record_request(self):
        """Record timestamp of request."""
        self.request_times.append(datetime.now())

    def _backoff_delay(self, attempt):
        """Calculate exponential backoff with jitter."""
        delay = min(self.config.base_delay * (2**attempt), self.config.max_delay)
        # Add jitter: ±25% randomization
        return delay + delay * 0.25 * (2 * random.random() - 1)


async def main(kind, url, key):
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers={"authorization": f"App {key}"}, connector=connector) as session:
        # The guide's example for one provider, five requests a second, with a budget that is never spent. Its list of times is
        # gone through for every request, so the window is short enough for that not to be what is measured.
        client = RateLimitedClient(RateLimitConfig(requests_per_window=5, window_seconds=0), session)
        if kind == "guide":
            client.config.requests_per_window = 10**9

        async def plain(path):
            async with session.get(url + path) as resp:
                resp.raise_for_status()
                return await resp.json()

        async def guide(path):
            return await client.request("GET", url + path)

        call = guide if kind == "guide" else plain

        async def caller(path, calls):
            for _ in range(calls):
                assert len((await call(path))["orders"]) == ORDERS[path]

        loop = asyncio.get_running_loop()
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            path, width, calls = line.split()
            await asyncio.gather(*(caller(path, int(calls)) for _ in range(int(width))))
            print("done", flush=True)


asyncio.run(main(*sys.argv[1:]))
