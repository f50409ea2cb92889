"""`mlops platform`: the servers of this machine."""

import shlex

import typer

app = typer.Typer(no_args_is_help=True, help="The servers of this machine: S3, MLflow, and those of the models.")


@app.command()
def up() -> None:
    """Start the servers that do not run yet."""
    from local import platform

    platform.up()
    status()


@app.command()
def down() -> None:
    """End all servers of this checkout."""
    from local import platform

    stopped = platform.down()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status() -> None:
    """Tell which servers run, and where."""
    from local import platform

    for server in platform.status():
        print(f"{server.name:20} {server.state:9} {server.address:28} {f'pid {server.pid}' if server.pid else ''}".rstrip())


@app.command()
def env() -> None:
    """Print the variables by which other programs find the servers: eval "$(mlops platform env)"."""
    from local.environment import environment, foreign
    from local.state import load

    variables = environment(load())
    for name in foreign():
        if name not in variables:
            print(f"unset {name}")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
