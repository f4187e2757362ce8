"""Lints the Helm chart, renders it in each of its modes, and validates every document."""

import pathlib
import subprocess
import sys

import helm_python
import yaml

CHART = pathlib.Path(__file__).parent / "interlock"
MODES = {
    "shared": {"control": {"url": "mysql://u:p@h:1"}},
    "shared-all": {
        "control": {"existingSecret": "there"},
        "tls": {"secretName": "certificates"},
        "monitoring": {"podMonitor": True},
        "shared": {"clients": [{"podSelector": {"matchLabels": {"a": "b"}}}]},
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
    },
    "sidecar": {
        "mode": "sidecar",
        "control": {"url": "mysql://u:p@h:1"},
        "monitoring": {"podMonitor": True},
        "sidecar": {
            "application": {
                "image": "registry.example/app:1",
                "env": [{"name": "A", "value": "b"}],
                "ports": [{"name": "http", "containerPort": 8080}],
            }
        },
    },
    "sidecar-of-another-chart": {"mode": "sidecar"},
}
IMAGE = {"repository": "registry.example/interlock", "tag": "7"}
# What each mode must contain.
KINDS = {
    "shared": {"ConfigMap", "Secret", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"},
    "shared-all": {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"},
    "sidecar": {"ConfigMap", "Secret", "Deployment", "NetworkPolicy", "PodMonitor"},
    "sidecar-of-another-chart": {"ConfigMap", "NetworkPolicy"},
}


def containers(document):
    spec = document["spec"]["template"]["spec"]
    return [c for c in spec.get("initContainers", []) + spec["containers"] if c["name"] == "interlock"]


def main():
    out = pathlib.Path(sys.argv[1]) / "rendered"
    out.mkdir(parents=True, exist_ok=True)
    chart = helm_python.Chart.load(str(CHART))
    for mode, values in MODES.items():
        rendered = chart.render({"image": IMAGE, **values}, name="demo", namespace="demo")
        documents = [d for text in rendered.values() for d in yaml.safe_load_all(text) if d]
        kinds = {d["kind"] for d in documents}
        assert kinds == KINDS[mode], f"{mode}: {kinds}"
        for document in documents:
            if document["kind"] != "Deployment":
                continue
            (interlock,) = containers(document)
            assert interlock["image"] == "registry.example/interlock:7", interlock["image"]
            assert interlock["securityContext"]["readOnlyRootFilesystem"], mode
            assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= set(interlock), mode
            assert (interlock.get("restartPolicy") == "Always") == (mode == "sidecar"), mode
        # The operator's kind is in no schema of Kubernetes itself.
        known = [d for d in documents if d["kind"] != "PodMonitor"]
        file = out / f"{mode}.yaml"
        file.write_text(yaml.safe_dump_all(known))
        subprocess.run(["kubernetes-validate", "--strict", "--quiet", str(file)], check=True)
    # Whose image it would be is not guessed.
    try:
        chart.render(MODES["shared"], name="demo", namespace="demo")
    except Exception as error:  # noqa: BLE001: the binding names no class of its own
        assert "image.repository" in str(error), error
    else:
        raise AssertionError("it renders without an image")
    print(f"{len(MODES)} modes")


if __name__ == "__main__":
    main()
