"""Grafana dashboards as code, and Prometheus rules."""
