// Command otelcol is the collector that rendered configs are tried on: the real components of the contrib distribution
// that a floe config can name, plus Datadog's real config over factories that discard data.
package main

import (
	"os"

	"floe-render/conformance/validate-many"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/httpprovider"
	"go.opentelemetry.io/collector/confmap/provider/httpsprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/otelcol"
)

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otelcol", Description: "conformance collector", Version: "0.158.0"},
		Factories: components,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			ProviderFactories: []confmap.ProviderFactory{
				envprovider.NewFactory(),
				fileprovider.NewFactory(),
				httpprovider.NewFactory(),
				httpsprovider.NewFactory(),
				yamlprovider.NewFactory(),
			},
		}},
	}
	command := otelcol.NewCommand(settings)
	command.AddCommand(validatemany.Command(settings))
	if err := command.Execute(); err != nil {
		os.Exit(1)
	}
}
