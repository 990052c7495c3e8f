"""JAX on a CPU: annotated steps, and compilations told by its own listeners."""

from pathlib import Path

from framework_jobs import both


def test_annotated_steps(tmp_path: Path) -> None:
    """Each is a step; compiling is in the first, and where a shape is new; copies are h2d; numbers are the same."""
    done = both(tmp_path, """
        import jax, jax.numpy as jnp, numpy
        def show(*values):
            print(*(float(value).hex() for value in values), flush=True)
        @jax.jit
        def update(weights, x):
            return weights - 0.1 * jax.grad(lambda w: jnp.square(x @ w).mean())(weights)
        weights = jnp.ones((4, 2))
        for number in range(8):
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                x = jax.device_put(numpy.ones((5 if number == 4 else 3, 4), "float32"))
                weights = update(weights, x)
                weights.block_until_ready()
            show(weights.sum(), weights[0, 0])
    """, preamble="", fresh=True)

    assert [step["step"] for step in done.steps] == list(range(8))
    assert all(done.seconds("compute"))
    assert all(done.seconds("h2d"))
    assert {0, 4} <= {number for number, seconds in enumerate(done.seconds("compile")) if seconds > 0.005}
    assert sum(seconds > 0 for seconds in done.seconds("compile")[5:]) == 0


def test_without_annotations_there_are_no_steps(tmp_path: Path) -> None:
    """And no file: a progress line is what is left."""
    done = both(tmp_path, """
        import jax, jax.numpy as jnp
        print(float(jax.jit(jnp.sin)(1.0)).hex())
    """, preamble="", fresh=True)

    assert (done.steps, done.events) == ([], [])
