"""Where readings go: MQTT, metrics, tables, the terminal."""
