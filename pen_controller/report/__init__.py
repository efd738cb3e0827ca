"""What a treatment leaves behind to read: a report as HTML and PDF, a FHIR bundle. Made from the journal alone."""
