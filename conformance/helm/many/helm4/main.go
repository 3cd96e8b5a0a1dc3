// Does many jobs with Helm 4 in one process, each as the command of that name does with its default options.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"floe-render/conformance/helm/many"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
	v1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/kubectl/pkg/validation"
)

const timeout = 300 * time.Second

// helm keeps the connection to each namespace, with what the server told of itself.
type helm map[string]*action.Configuration

// factory keeps what the server says of its objects' fields, which does not change while it runs; to read it is half of an upgrade.
type factory struct {
	kube.Factory
	validators map[string]validation.Schema
}

func (f *factory) Validator(directive string) (validation.Schema, error) {
	if known := f.validators[directive]; known != nil {
		return known, nil
	}
	validator, err := f.Factory.Validator(directive)
	if err == nil {
		f.validators[directive] = validator
	}
	return validator, err
}

func main() {
	kube.ManagedFieldsManager = "helm"
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	many.Main(helm{})
}

func merged(job many.Job) (map[string]any, error) {
	options := values.Options{ValueFiles: job.ValueFiles(), JSONValues: job.SetJSON}
	return options.MergeValues(getter.All(cli.New()))
}

// load reads the values, and the chart anew: Helm takes out of it what the values switch off.
func load(job many.Job) (chart.Charter, map[string]any, error) {
	vals, err := merged(job)
	if err != nil {
		return nil, nil, err
	}
	loaded, err := loader.Load(job.Chart)
	if err != nil {
		return nil, nil, err
	}
	accessor, err := chart.NewAccessor(loaded)
	if err != nil {
		return nil, nil, err
	}
	return loaded, vals, action.CheckDependencies(loaded, accessor.MetaDependencies())
}

func (helm) Lint(job many.Job) (messages []string, failures []error, err error) {
	vals, err := merged(job)
	if err != nil {
		return nil, nil, err
	}
	lint := action.NewLint()
	lint.Strict = true
	lint.Namespace = job.Namespace
	result := lint.Run([]string{job.Chart}, vals)
	for _, message := range result.Messages {
		messages = append(messages, message.Error())
	}
	return messages, result.Errors, nil
}

func (helm) Template(job many.Job) (string, []many.Hook, error) {
	loaded, vals, err := load(job)
	if err != nil {
		return "", nil, err
	}
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy = action.DryRunClient
	install.ReleaseName = "obs"
	install.Replace = true
	install.Namespace = job.Namespace
	install.WaitStrategy = kube.HookOnlyStrategy
	install.Timeout = timeout
	installed, err := install.Run(loaded, vals)
	if err != nil && installed != nil {
		err = fmt.Errorf("%w\n\nUse --debug flag to render out invalid YAML", err)
	}
	return parts(installed, err)
}

func (h helm) Upgrade(job many.Job) (string, []many.Hook, error) {
	configuration := h[job.Namespace]
	if configuration == nil {
		settings := cli.New()
		settings.SetNamespace(job.Namespace)
		configuration = action.NewConfiguration()
		if err := configuration.Init(settings.RESTClientGetter(), job.Namespace, os.Getenv("HELM_DRIVER")); err != nil {
			return "", nil, err
		}
		client := configuration.KubeClient.(*kube.Client)
		client.Factory = &factory{Factory: client.Factory, validators: map[string]validation.Schema{}}
		h[job.Namespace] = configuration
	}
	history := action.NewHistory(configuration)
	history.Max = 1
	_, missing := history.Run("obs")
	if missing != nil && !errors.Is(missing, driver.ErrReleaseNotFound) {
		return "", nil, missing
	}
	loaded, vals, err := load(job)
	if err != nil {
		return "", nil, err
	}
	if missing != nil {
		install := action.NewInstall(configuration)
		install.ReleaseName = "obs"
		install.Namespace = job.Namespace
		install.WaitStrategy = kube.HookOnlyStrategy
		install.Timeout = timeout
		return parts(install.Run(loaded, vals))
	}
	upgrade := action.NewUpgrade(configuration)
	upgrade.Install = true
	upgrade.Namespace = job.Namespace
	upgrade.WaitStrategy = kube.HookOnlyStrategy
	upgrade.Timeout = timeout
	upgrade.MaxHistory = cli.New().MaxHistory
	upgraded, err := upgrade.RunWithContext(context.Background(), "obs", loaded, vals)
	if err != nil {
		err = fmt.Errorf("UPGRADE FAILED: %w", err)
	}
	return parts(upgraded, err)
}

func parts(released release.Releaser, err error) (string, []many.Hook, error) {
	if err != nil {
		return "", nil, err
	}
	rel, ok := released.(*v1.Release)
	if !ok {
		return "", nil, fmt.Errorf("unsupported release type: %T", released)
	}
	var hooks []many.Hook
	for _, hook := range rel.Hooks {
		hooks = append(hooks, many.Hook{Path: hook.Path, Manifest: hook.Manifest})
	}
	return rel.Manifest, hooks, nil
}
