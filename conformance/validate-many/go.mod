module floe-render/conformance/validate-many

go 1.23.0

// The oldest collector that uses this module; each collector's own go.mod raises it.
require (
	github.com/spf13/cobra v1.8.1
	go.opentelemetry.io/collector/confmap v1.26.0
	go.opentelemetry.io/collector/otelcol v0.120.0
	go.uber.org/zap v1.27.0
)
