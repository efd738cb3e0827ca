"""A page that shows all pens of a site live, from MQTT over WebSocket alone; this package only serves its files."""
