# SPDX-License-Identifier: PostgreSQL
"""What the integration tests, the benches and the demo share: private servers, the daemon, a proxy, clients."""
