"""Figures of photos and videos: what they say, and that nothing in them is cut off."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auformer.predict import AUPredictor, ImagePrediction, find_sources
from auformer.predict.figures import BestFaces, au_summary, main_series, photo_figure, shown_aus, timeline_figure
from tests.helpers.figures import cut_texts, texts
from tests.helpers.photos import AUS, write_photos
from tests.helpers.predictions import StandIn
from tests.helpers.trees.images import write_video
from tests.helpers.videos import moving


class WithMaps(StandIn):
    """Evidence of AU number k lies in the cell k."""

    def expert_maps(self, images):
        maps = images.new_zeros(len(images), len(self.au_names), 2, 2)
        for k in range(len(self.au_names)):
            maps[:, k].view(len(images), -1)[:, k] = 1
        return maps


class TestPhotos:
    def photo(self, tmp_path, name, network):
        predictor = AUPredictor(network)
        return predictor, next(iter(predictor.stream(find_sources([write_photos(tmp_path)[name]]))))

    def test_what_it_says(self, tmp_path):
        figure = photo_figure(*self.photo(tmp_path, "two", WithMaps(AUS)))
        said = texts(figure)
        assert "two.png, largest of 2 faces" in said and "AU12 Lip corner puller" in said
        assert any("Probabilities that an action unit occurs, not intensities." in text for text in said)
        assert cut_texts(figure) == []

    def test_a_notice_is_in_it_in_lines_that_fit(self, tmp_path):
        notice = "Trained on rendered faces only, " + "and so on " * 20 + "to its end.\nOccurrence, not intensities."
        figure = photo_figure(*self.photo(tmp_path, "one", WithMaps(AUS)), notice=notice)
        footer = next(text for text in texts(figure) if "Trained on rendered faces only" in text)
        assert footer.split() == notice.split() and max(map(len, footer.splitlines())) <= 90
        assert "one.png" in texts(figure) and cut_texts(figure) == []

    def test_an_image_for_each_map_and_none_without_experts(self, tmp_path):
        with_maps = photo_figure(*self.photo(tmp_path, "one", WithMaps(AUS)))
        without = photo_figure(*self.photo(tmp_path, "one", StandIn(AUS)))
        assert len(with_maps.axes) == len(without.axes) + len(AUS)

    def test_the_face_is_the_crop(self, tmp_path):
        predictor, photo = self.photo(tmp_path, "two", StandIn(AUS, image_size=(24, 24)))
        shown = [image.get_array() for axes in photo_figure(predictor, photo).axes for image in axes.get_images()]
        assert any(array.shape == (24, 24, 3) and np.array_equal(array, photo.faces[0].crop) for array in shown)


class TestVideos:
    @pytest.fixture
    def video(self, tmp_path):
        path = write_video(tmp_path / "talk.mp4", moving(8, without=[3, 4]), fps=10)
        predictor, best = AUPredictor(WithMaps(AUS)), BestFaces(AUS)
        for item in predictor.stream(find_sources([path])):
            if isinstance(item, ImagePrediction):
                best.add(item)
        return predictor, predictor.predict(path), best

    def test_timeline_and_maps(self, video):
        predictor, table, best = video
        figure = timeline_figure(table, AUS, title="talk.mp4", notice="trained on rendered faces only")
        assert {"talk.mp4, face 0", "AU12 Lip corner puller", "trained on rendered faces only"} <= set(texts(figure))
        assert cut_texts(figure) == []
        figure = best.figure(predictor, title="talk.mp4")
        said = texts(figure)
        assert len(figure.axes) == 3 and "AU25" in said and cut_texts(figure) == []
        assert any(f"{table['AU12_prob'].max():.2f}, " in text for text in said)

    def test_best_faces_are_kept_on_disk(self, video, tmp_path):
        predictor, _, best = video
        best.save(tmp_path / "best.npz")
        back = BestFaces(AUS)
        back.restore(tmp_path / "best.npz")
        figures = [one.figure(predictor, title="x") for one in (best, back)]
        assert texts(figures[0]) == texts(figures[1])
        for a, b in zip(*([axes.get_images() for axes in figure.axes] for figure in figures), strict=True):
            assert all(np.array_equal(x.get_array(), y.get_array()) for x, y in zip(a, b, strict=True))
        empty = BestFaces(AUS)
        empty.save(tmp_path / "best.npz")
        empty.restore(tmp_path / "best.npz")
        assert empty.figure(predictor, title="x") is None

    def test_intensities_and_blinks_are_drawn_where_the_table_has_them(self, video):
        """AU45 has no probability: it takes AU43's during a blink. AU1 has no intensity here."""
        _, table, _ = video
        table = table.rename(columns={"AU25_prob": "AU43_prob", "AU25_active": "AU43_active"})
        blink = pd.array([0, 1, 0, None, None, 0, 0, 0], "Int8")
        table = table.assign(
            AU12_intensity_pred=2.5, AU45_active=blink, AU45_intensity_pred=[0, 4, 0, *[np.nan] * 2, 0, 0, 0]
        )
        names = shown_aus(table, ("AU12", "AU1", "AU43"))
        series = main_series(table, names)
        assert names == ["AU12", "AU1", "AU43", "AU45"]
        seen = table.set_index("frame")["AU43_prob"].to_numpy()
        np.testing.assert_allclose(series.probs[:, 3], seen * [0, 1, 0, np.nan, np.nan, 0, 0, 0])
        assert np.isnan(series.intensity[:, [1, 2]]).all() and np.nanmax(series.intensity[:, 3]) == 4
        facts = au_summary(table, "AU45", 0)
        assert len(facts["spans"]) == 1 and np.isnan(facts["mean_prob"]) and facts["mean_intensity"] == 4 / 6
        figure = timeline_figure(table, ("AU12", "AU1", "AU43"), title="talk.mp4")
        assert {"AU45 Blink", "Intensity, 0 to 5"} <= set(texts(figure)) and cut_texts(figure) == []
        assert any("are two outputs of the network" in text.replace("\n", " ") for text in texts(figure))

    def test_nothing_to_draw(self, video):
        predictor, table, _ = video
        assert timeline_figure(table[table["status"] != "ok"], AUS, title="x") is None
        assert BestFaces(AUS).figure(predictor, title="x") is None
