// Package validatemany adds to a collector a subcommand that validates many configs in one process, each exactly as
// `validate --config FILE` does, because starting a process per config would make thousands of them slow.
package validatemany

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/otelcol"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

type request struct {
	Name   string `json:"name"`
	Config string `json:"config"`
	// Env is set while this config is validated and restored afterwards.
	Env map[string]string `json:"env"`
}

type verdict struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error"`
	// Warnings are what the collector logs while it resolves the config, such as a variable that is not set.
	Warnings []string `json:"warnings,omitempty"`
}

// generation is how many configs one process validates. A dry run never shuts down what it built, and the receivers
// are kept in a package variable, so every config costs memory that only the end of its process gives back.
const generation = 5000

// Command reads requests, one JSON object per line or NUL, from stdin and writes one verdict per line to stdout.
func Command(settings otelcol.CollectorSettings) *cobra.Command {
	var worker bool
	command := &cobra.Command{
		Use:   "validate-many",
		Short: "Validates JSON lines {name, config, env} from stdin, each as `validate` would",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if worker {
				return serve(cmd.Context(), settings, cmd.InOrStdin(), cmd.OutOrStdout())
			}
			return supervise(cmd)
		},
	}
	command.Flags().BoolVar(&worker, "worker", false, "validate in this process, whatever memory that takes")
	return command
}

// supervise hands the requests to one worker process after the other.
func supervise(cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	requests := records(cmd.InOrStdin())
	more := requests.Scan()
	for more {
		worker := exec.CommandContext(cmd.Context(), self, "validate-many", "--worker")
		worker.Stdout, worker.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		pipe, err := worker.StdinPipe()
		if err != nil {
			return err
		}
		if err := worker.Start(); err != nil {
			return err
		}
		for range generation {
			if _, err := fmt.Fprintf(pipe, "%s\n", requests.Bytes()); err != nil {
				break // the worker is gone, and Wait says why
			}
			if more = requests.Scan(); !more {
				break
			}
		}
		pipe.Close()
		if err := worker.Wait(); err != nil {
			return fmt.Errorf("a worker ended early: %w", err)
		}
	}
	return requests.Err()
}

func serve(ctx context.Context, settings otelcol.CollectorSettings, in io.Reader, out io.Writer) error {
	// The factories hold nothing of a config that matters to the next, so one set serves every validation.
	factories, err := settings.Factories()
	if err != nil {
		return err
	}
	settings.Factories = func() (otelcol.Factories, error) { return factories, nil }

	requests := records(in)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for requests.Scan() {
		if len(bytes.TrimSpace(requests.Bytes())) == 0 {
			continue
		}
		var req request
		if err := json.Unmarshal(requests.Bytes(), &req); err != nil {
			return fmt.Errorf("a line is not a request: %w", err)
		}
		result, err := validate(ctx, settings, req)
		if err != nil {
			return err
		}
		if err := encoder.Encode(result); err != nil {
			return err
		}
	}
	return requests.Err()
}

func records(in io.Reader) *bufio.Scanner {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 64<<20)
	scanner.Split(splitRecords)
	return scanner
}

func splitRecords(data []byte, atEOF bool) (int, []byte, error) {
	if end := bytes.IndexAny(data, "\n\x00"); end >= 0 {
		return end + 1, data[:end], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func validate(ctx context.Context, settings otelcol.CollectorSettings, req request) (verdict, error) {
	restore, err := setEnv(req.Env)
	if err != nil {
		return verdict{}, err
	}
	defer restore()

	result := verdict{Name: req.Name}
	logged := &warnings{LevelEnabler: zapcore.WarnLevel}
	settings.LoggingOptions = []zap.Option{zap.WrapCore(func(zapcore.Core) zapcore.Core { return logged })}
	resolver := &settings.ConfigProviderSettings.ResolverSettings
	resolver.URIs = []string{scheme + ":"}
	resolver.DefaultScheme = "env" // what the collector's own commands set
	resolver.ProviderFactories = append(resolver.ProviderFactories[:len(resolver.ProviderFactories):len(resolver.ProviderFactories)],
		confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return text(req.Config) }))

	if err := dryRun(ctx, settings); err != nil {
		result.Error = err.Error()
	} else {
		result.OK = true
	}
	result.Warnings = logged.messages
	return result, nil
}

// dryRun turns a panic into a refusal: the process that `validate` runs in would have died of it too.
func dryRun(ctx context.Context, settings otelcol.CollectorSettings) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	collector, err := otelcol.NewCollector(settings)
	if err != nil {
		return err
	}
	return collector.DryRun(ctx)
}

func setEnv(env map[string]string) (restore func(), err error) {
	type previous struct {
		value string
		set   bool
	}
	before := make(map[string]previous, len(env))
	restore = func() {
		for name, was := range before {
			if was.set {
				os.Setenv(name, was.value)
			} else {
				os.Unsetenv(name)
			}
		}
	}
	for name, value := range env {
		was, set := os.LookupEnv(name)
		before[name] = previous{was, set}
		if err := os.Setenv(name, value); err != nil {
			restore()
			return nil, fmt.Errorf("environment variable `%s`: %w", name, err)
		}
	}
	return restore, nil
}

// scheme names the provider of the config under test; it must not clash with the real ones.
const scheme = "request"

// text provides a config the way the file provider does, without the file.
type text string

func (t text) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	if !strings.HasPrefix(uri, scheme+":") {
		return nil, errors.New("unsupported uri " + uri)
	}
	return confmap.NewRetrievedFromYAML([]byte(t))
}

func (text) Scheme() string                 { return scheme }
func (text) Shutdown(context.Context) error { return nil }

// warnings is a log core that keeps messages for the verdict, where the real command would print them.
type warnings struct {
	zapcore.LevelEnabler
	messages []string
}

func (w *warnings) With([]zapcore.Field) zapcore.Core { return w }
func (w *warnings) Sync() error                       { return nil }

func (w *warnings) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if w.Enabled(entry.Level) {
		return checked.AddCore(entry, w)
	}
	return checked
}

func (w *warnings) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoded := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoded)
	}
	w.messages = append(w.messages, fmt.Sprintf("%s %v", entry.Message, encoded.Fields))
	return nil
}
